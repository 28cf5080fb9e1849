-- Nobody is his own: where one alone has the parent it is not the one that is meant.
SELECT up.trace, up.id
FROM up
JOIN (
    SELECT trace, up.up AS parent, count(*) AS members, min(id) AS one
    FROM up SEMI JOIN /* of */ AS members USING (trace, id)
    GROUP BY trace, up.up
) AS families ON families.trace = up.trace AND families.parent = up.up
WHERE members > 1 OR up.id <> one
