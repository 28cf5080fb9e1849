SELECT trace, id FROM up SEMI JOIN /* of */ AS parents ON parents.trace = up.trace AND parents.id = up.up
