SELECT spans.* REPLACE (resources.text AS resource, scopes.text AS scope)
FROM spans
JOIN resources ON resources.id = spans.resource
JOIN scopes ON scopes.id = spans.scope
WHERE trace_high = $high AND trace_low = $low AND segment BETWEEN $first AND $last
