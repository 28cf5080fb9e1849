-- Traces of which ids alone do not say who is whose child.
UNION
SELECT trace FROM chosen GROUP BY trace HAVING count(DISTINCT id) < count(*) OR bool_or(shared OR parent_id = id)
