INSERT INTO temp.relatives
SELECT trace_high, trace_low, span_id, start_time, kind, parent_id, service, status, adjusted_count, flags,
    /* include peer */
FROM spans
SEMI JOIN wanted USING (trace_low, trace_high)
WHERE segment BETWEEN $first AND $last
