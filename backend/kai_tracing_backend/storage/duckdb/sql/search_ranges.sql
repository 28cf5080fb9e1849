-- Between which starts the spans of each wanted trace are in this file.
SELECT min(first_start), max(last_start)
FROM traces
SEMI JOIN wanted ON wanted.trace_low = traces.trace_low AND wanted.trace_high = traces.trace_high
GROUP BY trace_high, trace_low
ORDER BY 1
