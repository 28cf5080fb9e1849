SELECT value, count(*) AS spans
FROM (
    SELECT /* value */ AS value
    FROM spans
    WHERE start_time >= $start AND start_time < $end AND (/* where */)
)
WHERE value IS NOT NULL AND (/* fitting */)
GROUP BY value
ORDER BY spans DESC, value
LIMIT $most
