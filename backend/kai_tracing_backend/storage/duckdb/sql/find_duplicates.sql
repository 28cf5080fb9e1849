-- Rows of the batch that are in the file already, or a second time in the batch.
SELECT row_index
FROM keys
WHERE EXISTS (
    SELECT 1
    FROM spans
    WHERE spans.start_time BETWEEN $first AND $last
        AND spans.span_id = keys.span_id
        AND spans.trace_low = keys.trace_low
        AND spans.trace_high = keys.trace_high
        AND spans.start_time = keys.start_time
        AND spans.kind = keys.kind
)
UNION
SELECT row_index
FROM (
    SELECT
        row_index,
        row_number() OVER (PARTITION BY trace_high, trace_low, span_id, start_time, kind ORDER BY row_index) AS nth
    FROM keys
)
WHERE nth > 1
