-- Spans that as many name as their parent, or more.
SELECT trace, id FROM chosen
SEMI JOIN (SELECT trace, up.up AS id FROM up GROUP BY trace, up.up HAVING count(*) >= /* fewest */) USING (trace, id)
WHERE /* passed */
