SELECT DISTINCT trace_high, trace_low
FROM traces
WHERE trace_high BETWEEN $first_high AND $last_high
    AND (trace_high > $first_high OR trace_low >= $first_low)
    AND (trace_high < $last_high OR trace_low <= $last_low)
ORDER BY trace_high, trace_low
LIMIT $limit
