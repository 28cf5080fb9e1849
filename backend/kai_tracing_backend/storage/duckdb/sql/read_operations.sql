SELECT DISTINCT name, kind
FROM (
/* include chosen_rates */
)
WHERE service = $service
