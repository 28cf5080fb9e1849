SELECT min(start_time), max(start_time) FROM spans
