SELECT parent, child, sum(calls)::BIGINT, sum(weight), sum(errors)::BIGINT
FROM edges
WHERE minute BETWEEN $first AND $last
GROUP BY parent, child
