SELECT DISTINCT service
FROM (
/* include chosen_rates */
)
