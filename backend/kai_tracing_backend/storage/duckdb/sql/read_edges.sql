SELECT parent, child, sum(calls)::BIGINT, sum(weight), sum(errors)::BIGINT, parent_type, child_type
FROM (SELECT * FROM edges UNION ALL SELECT * FROM edges_recent)
WHERE minute >= $first AND minute < $last AND ($peers OR (parent_type = 'service' AND child_type = 'service'))
    AND ($loops OR parent <> child OR parent_type <> child_type)
GROUP BY parent, parent_type, child, child_type
