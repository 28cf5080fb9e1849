SELECT trace_high, trace_low, max(start_time) AS latest
FROM spans
WHERE start_time >= $start AND start_time < $end
    AND ($service IS NULL OR service = $service)
    AND ($operation IS NULL OR name = $operation)
    AND ($min_duration IS NULL OR duration >= $min_duration)
    AND ($max_duration IS NULL OR duration <= $max_duration)
    AND ($error IS NULL OR (status = 2) = $error)
    /* attributes */
GROUP BY trace_high, trace_low
ORDER BY latest DESC, trace_high, trace_low
LIMIT $limit
