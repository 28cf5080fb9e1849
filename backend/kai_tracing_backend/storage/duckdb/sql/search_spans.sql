-- All spans of the wanted traces: what a search needs of each, and which filters it passes.
SELECT
    trace_high, trace_low, span_id, parent_id, start_time, duration, name, kind, status, status_message, flags, service,
    /* filters */
FROM spans
SEMI JOIN wanted ON wanted.trace_low = spans.trace_low AND wanted.trace_high = spans.trace_high
WHERE (/* ranges */)
