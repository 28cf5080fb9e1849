SELECT DISTINCT segment
FROM traces
SEMI JOIN wanted ON wanted.trace_low = traces.trace_low AND wanted.trace_high = traces.trace_high
