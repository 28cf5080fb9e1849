SELECT DISTINCT trace_high, trace_low FROM spans WHERE start_time >= $start AND start_time < $end
