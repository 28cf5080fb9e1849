SELECT trace, id FROM up SEMI JOIN /* of */ AS above ON above.trace = up.trace AND above.id = up.up
UNION
SELECT up.trace, up.id FROM up JOIN /* own */ AS above ON above.trace = up.trace AND above.id = up.up
