SELECT trace, up.up AS id FROM up SEMI JOIN /* of */ AS below USING (trace, id)
UNION
SELECT up.trace, up.up FROM up JOIN /* own */ AS below ON below.trace = up.trace AND below.id = up.id
