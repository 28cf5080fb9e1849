SELECT count(*), max(number), min(first_here), max(last_here) FROM doomed
