INSERT INTO facts
SELECT trace_high, trace_low, $end, count(*), min(start_time), max(start_time), bit_or(/* bits */)
FROM spans
LEFT JOIN limits USING (service, name, kind)
/* shared */
WHERE segment BETWEEN $first AND $last
GROUP BY trace_high, trace_low
