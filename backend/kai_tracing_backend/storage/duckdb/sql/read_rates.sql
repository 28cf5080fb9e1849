WITH chosen AS (
/* include chosen_rates */
),
totals AS (
    SELECT service, name, kind, status, sum(spans)::BIGINT AS spans, sum(weight) AS weight,
        sum(total_duration) AS total_duration, min(min_duration) AS min_duration, max(max_duration) AS max_duration
    FROM chosen
    GROUP BY ALL
),
merged AS (
    SELECT service, name, kind, status, bucket, sum(weight) AS weight
    FROM (
        SELECT service, name, kind, status, unnest(buckets) AS bucket, unnest(weights) AS weight FROM chosen
    )
    GROUP BY ALL
),
sketches AS (
    SELECT service, name, kind, status, list(bucket) AS buckets, list(weight) AS weights FROM merged GROUP BY ALL
)
SELECT * FROM totals JOIN sketches USING (service, name, kind, status)
