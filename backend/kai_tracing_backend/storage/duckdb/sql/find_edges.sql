-- Calls between the batch and what was there before it: its spans under their parents in the file, and spans in the
-- file under parents in the batch. Runs before the batch is written.
-- Where the two halves of a call share an id (Zipkin), the server's parent is the client's half, and what is under
-- that id belongs to the server: a client calls servers and consumers, and what else is under one is not its callee.
WITH others AS (
    SELECT trace_high, trace_low, span_id, parent_id, start_time, service, kind, status, adjusted_count, flags
    FROM spans
    WHERE start_time BETWEEN $first AND $last
)
SELECT child_start // 60_000_000_000 AS minute, parent, child, count(*) AS calls, sum(weight) AS weight,
    count_if(status = 2) AS errors
FROM (
    SELECT c.start_time AS child_start, p.service AS parent, c.service AS child, c.adjusted_count AS weight, c.status
    FROM links AS c
    JOIN others AS p ON p.span_id = CASE WHEN c.flags >= $shared THEN c.span_id ELSE c.parent_id END
        AND p.trace_low = c.trace_low AND p.trace_high = c.trace_high
    WHERE p.service <> c.service AND NOT (p.kind = 3 AND c.kind IN (0, 3, 4))
    UNION ALL
    SELECT c.start_time, p.service, c.service, c.adjusted_count, c.status
    FROM others AS c
    JOIN links AS p ON p.span_id = CASE WHEN c.flags >= $shared THEN c.span_id ELSE c.parent_id END
        AND p.trace_low = c.trace_low AND p.trace_high = c.trace_high
    WHERE p.service <> c.service AND NOT (p.kind = 3 AND c.kind IN (0, 3, 4))
)
GROUP BY ALL
