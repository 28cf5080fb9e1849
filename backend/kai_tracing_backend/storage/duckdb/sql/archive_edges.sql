INSERT INTO history.edges SELECT *, (SELECT id FROM meta) FROM edges
