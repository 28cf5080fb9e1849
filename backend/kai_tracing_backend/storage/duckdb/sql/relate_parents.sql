SELECT DISTINCT trace, up.up AS id FROM up SEMI JOIN /* of */ AS children USING (trace, id)
