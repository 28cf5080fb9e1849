DELETE FROM spans_settled AS spans USING doomed
WHERE spans.trace_low = doomed.trace_low AND spans.trace_high = doomed.trace_high
    AND spans.start_time BETWEEN $first AND $last
