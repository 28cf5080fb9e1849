INSERT INTO traces
SELECT trace_high, trace_low, min(start_time), max(start_time)
FROM incoming
GROUP BY trace_high, trace_low
