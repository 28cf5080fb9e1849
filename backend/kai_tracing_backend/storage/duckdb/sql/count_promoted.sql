SELECT /* columns */ FROM spans WHERE start_time >= $start AND start_time < $end AND (/* where */)
