INSERT INTO spans_recent BY NAME
SELECT incoming.* REPLACE (resources.id AS resource, scopes.id AS scope)
FROM incoming
JOIN resources ON resources.text = incoming.resource
JOIN scopes ON scopes.text = incoming.scope
