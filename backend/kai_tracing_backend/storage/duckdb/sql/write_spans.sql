-- What returns something is inserted by one thread, as it comes: several threads, each with rows of its own, which are put
-- together afterwards, take a quarter more processor time for what a commit has, and half more for a run.
INSERT INTO spans_recent BY NAME
SELECT incoming.* REPLACE (resources.id AS resource, scopes.id AS scope)
FROM incoming
JOIN resources ON resources.text = incoming.resource
JOIN scopes ON scopes.text = incoming.scope
RETURNING 1
