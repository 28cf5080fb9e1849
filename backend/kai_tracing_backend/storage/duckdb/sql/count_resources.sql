SELECT text, spans
FROM (
    SELECT resource, count(*) AS spans
    FROM spans
    WHERE start_time >= $start AND start_time < $end AND (/* where */)
    GROUP BY resource
)
JOIN resources ON resources.id = resource
