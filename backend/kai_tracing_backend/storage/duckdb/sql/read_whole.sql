SELECT spans.* REPLACE (resources.text AS resource, scopes.text AS scope)
FROM spans
SEMI JOIN wanted ON wanted.trace_low = spans.trace_low AND wanted.trace_high = spans.trace_high
JOIN resources ON resources.id = spans.resource
JOIN scopes ON scopes.id = spans.scope
WHERE segment BETWEEN $first AND $last
