SELECT trace, id FROM (FROM /* left */ UNION ALL FROM /* right */)
SEMI JOIN /* left */ USING (trace)
SEMI JOIN /* right */ USING (trace)
