SELECT spans.trace_high, spans.trace_low, count(*) AS spans, count_if(status = 2) AS errors,
    min(start_time) AS first, max(start_time + duration) AS last,
    arg_min({service: service, name: name, root: parent_id = 0, start: start_time}, (parent_id <> 0, start_time)) AS root
FROM spans
SEMI JOIN wanted ON wanted.trace_low = spans.trace_low AND wanted.trace_high = spans.trace_high
WHERE start_time BETWEEN $first AND $last
GROUP BY spans.trace_high, spans.trace_low
