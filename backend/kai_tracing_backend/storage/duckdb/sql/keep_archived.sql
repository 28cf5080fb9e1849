SELECT spans.* EXCLUDE (segment) REPLACE (resources.text AS resource, scopes.text AS scope)
FROM spans
JOIN resources ON resources.id = spans.resource
JOIN scopes ON scopes.id = spans.scope
SEMI JOIN (SELECT * FROM due WHERE list_contains($rules, rule) AND (shared OR NOT $shared)) AS chosen
    ON chosen.trace_low = spans.trace_low AND chosen.trace_high = spans.trace_high
ORDER BY trace_high, trace_low, start_time
