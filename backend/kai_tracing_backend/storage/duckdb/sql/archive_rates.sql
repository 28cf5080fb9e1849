INSERT INTO history.rates SELECT (SELECT id FROM meta), * FROM rates
