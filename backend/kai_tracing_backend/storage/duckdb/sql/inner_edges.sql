-- Calls with both sides in the batch; see find_edges.sql.
SELECT c.start_time // 60_000_000_000 AS minute, p.service AS parent, c.service AS child, count(*) AS calls,
    sum(c.adjusted_count) AS weight, count_if(c.status = 2) AS errors
FROM links AS c
JOIN links AS p ON p.span_id = CASE WHEN c.flags >= $shared THEN c.span_id ELSE c.parent_id END
    AND p.trace_low = c.trace_low AND p.trace_high = c.trace_high
WHERE p.service <> c.service AND NOT (p.kind = 3 AND c.kind IN (0, 3, 4))
GROUP BY ALL
