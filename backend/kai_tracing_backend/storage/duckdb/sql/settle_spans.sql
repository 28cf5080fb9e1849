-- A run of spans in its final order: traces by their first span here, and siblings side by side, so that the ids of
-- traces and parents are written once for many spans. For `RETURNING` see write_spans.sql.
INSERT INTO spans_settled
SELECT * REPLACE (($first + (row_number() OVER () - 1) // $size)::INTEGER AS segment)
FROM (
    SELECT *
    FROM spans_recent
    WHERE segment = $first
    ORDER BY min(start_time) OVER (PARTITION BY trace_high, trace_low), trace_high, trace_low, parent_id, start_time
)
RETURNING 1
