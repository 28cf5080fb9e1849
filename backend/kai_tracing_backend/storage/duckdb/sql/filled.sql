SELECT coalesce(max(segment), 0)::BIGINT * $size + coalesce(sum(spans) FILTER (segment = (SELECT max(segment) FROM segments)), 0)::BIGINT
FROM segments
