INSERT INTO history.rates SELECT *, (SELECT id FROM meta) FROM rates;
INSERT INTO history.rates_long SELECT *, (SELECT id FROM meta) FROM rates_long
