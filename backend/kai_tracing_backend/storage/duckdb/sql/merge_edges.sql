INSERT INTO edges
SELECT minute, parent, parent_type, child, child_type, sum(calls), sum(weight), sum(errors)
FROM edges_recent
GROUP BY ALL
HAVING sum(calls) <> 0
ORDER BY minute;
DELETE FROM edges_recent
