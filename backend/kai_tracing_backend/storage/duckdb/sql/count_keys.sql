WITH chosen AS NOT MATERIALIZED (  -- each of the five reads the keys of its own map alone
    SELECT attributes_string, attributes_int, attributes_double, attributes_bool, attributes_other
    FROM spans
    WHERE start_time >= $start AND start_time < $end AND (/* where */)
)
SELECT kind, key, count(*) AS spans
FROM (
    SELECT 'string' AS kind, unnest(map_keys(attributes_string)) AS key FROM chosen
    UNION ALL
    SELECT 'int', unnest(map_keys(attributes_int)) FROM chosen
    UNION ALL
    SELECT 'double', unnest(map_keys(attributes_double)) FROM chosen
    UNION ALL
    SELECT 'bool', unnest(map_keys(attributes_bool)) FROM chosen
    UNION ALL
    SELECT 'other', unnest(map_keys(attributes_other)) FROM chosen
)
WHERE starts_with(key, $prefix)
GROUP BY kind, key
