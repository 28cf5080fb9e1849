-- Between which starts the spans of the wanted traces are in this file; NULL where it has none of them.
SELECT min(first_start), max(last_start)
FROM traces
SEMI JOIN wanted ON wanted.trace_low = traces.trace_low AND wanted.trace_high = traces.trace_high
