SELECT value, count(*) AS spans
FROM (
    SELECT /* value */ AS value
    FROM spans
    WHERE start_time >= $start AND start_time < $end AND $service IN ('', service)
)
WHERE value IS NOT NULL
GROUP BY value
