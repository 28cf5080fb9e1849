SELECT value, count(*) AS spans
FROM (SELECT /* value */ AS value FROM spans WHERE start_time >= $start AND start_time < $end)
WHERE value IS NOT NULL
GROUP BY value
