-- The traces with a span in the slice that may be found, those with the latest such span first.
SELECT trace_high, trace_low, max(start_time) AS latest
FROM spans
WHERE start_time >= $begin AND start_time < $until AND (/* condition */)
GROUP BY trace_high, trace_low
ORDER BY latest DESC, trace_high, trace_low
LIMIT $most
