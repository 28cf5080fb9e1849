SELECT min(first_start), max(last_start) FROM traces WHERE trace_low = $low AND trace_high = $high
