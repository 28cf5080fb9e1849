-- How many rows the runs have got; one that is settled is full.
SELECT coalesce(
    (SELECT max(segment) * $size + count(*) FROM spans_recent WHERE segment = (SELECT max(segment) FROM spans_recent)),
    (SELECT (max(segment) // $segments + 1) * $segments * $size FROM segments),
    0
)::BIGINT
