INSERT INTO rates_recent
SELECT
    minute, service, name, kind, status,
    sum(spans), sum(weight), sum(total_duration), min(min_duration), max(max_duration),
    list(bucket ORDER BY bucket), list(weight ORDER BY bucket)
FROM (
    SELECT
        start_time // 60_000_000_000 AS minute, service, name, kind, status,
        CASE WHEN duration > 0 THEN ceil(ln(duration) / $ln_gamma)::SMALLINT ELSE -1 END AS bucket,
        count(*) AS spans,
        sum(adjusted_count) AS weight,
        sum(duration * adjusted_count) AS total_duration,
        min(duration) AS min_duration,
        max(duration) AS max_duration
    FROM incoming
    GROUP BY ALL
)
GROUP BY minute, service, name, kind, status
