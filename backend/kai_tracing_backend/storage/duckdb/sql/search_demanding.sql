-- The same, but only of traces that are as the query demands as a whole. Those that have spans in another file, too,
-- are not known as a whole here.
WITH here AS MATERIALIZED (
    SELECT trace_high, trace_low, max(start_time) AS latest
    FROM spans
    WHERE start_time >= $begin AND start_time < $until AND (/* condition */)
    GROUP BY trace_high, trace_low
),
around AS MATERIALIZED (
    SELECT min(segment) AS first, max(segment) AS last FROM traces SEMI JOIN here USING (trace_low, trace_high)
)
SELECT trace_high, trace_low, latest
FROM here
SEMI JOIN (
    SELECT trace_high, trace_low
    FROM spans
    WHERE segment BETWEEN (SELECT first FROM around) AND (SELECT last FROM around)
    GROUP BY trace_high, trace_low
    HAVING /* demand */
    /* elsewhere */
) USING (trace_low, trace_high)
ORDER BY latest DESC, trace_high, trace_low
LIMIT $most
