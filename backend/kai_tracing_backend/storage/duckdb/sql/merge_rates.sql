CREATE OR REPLACE TEMP TABLE merging AS
WITH steps AS (
    SELECT 1::SMALLINT AS width, * FROM rates_recent
    UNION ALL
    SELECT 60, * REPLACE (minute // 60 * 60 AS minute) FROM rates_recent
    UNION ALL
    SELECT 1440, * REPLACE (minute // 1440 * 1440 AS minute) FROM rates_recent
    UNION ALL
    SELECT * FROM rates_long WHERE (width, minute) IN (
        SELECT (60, minute // 60 * 60) FROM rates_recent UNION SELECT (1440, minute // 1440 * 1440) FROM rates_recent
    )
),
totals AS (
    SELECT width, minute, service, name, kind, status, sum(spans)::BIGINT AS spans, sum(weight) AS weight,
        sum(total_duration) AS total_duration, min(min_duration) AS min_duration, max(max_duration) AS max_duration
    FROM steps
    GROUP BY ALL
),
buckets AS (
    SELECT width, minute, service, name, kind, status, bucket, sum(weight) AS weight
    FROM (
        SELECT width, minute, service, name, kind, status, unnest(buckets) AS bucket, unnest(weights) AS weight FROM steps
    )
    GROUP BY ALL
),
sketches AS (
    SELECT width, minute, service, name, kind, status, list(bucket ORDER BY bucket) AS buckets,
        list(weight ORDER BY bucket) AS weights
    FROM buckets
    GROUP BY ALL
)
SELECT * FROM totals JOIN sketches USING (width, minute, service, name, kind, status);
DELETE FROM rates_long WHERE (width, minute) IN (SELECT DISTINCT (width, minute) FROM temp.merging);
INSERT INTO rates_long BY NAME SELECT * FROM temp.merging WHERE width > 1 ORDER BY width, minute, service, name;
INSERT INTO rates BY NAME SELECT * EXCLUDE (width) FROM temp.merging WHERE width = 1 ORDER BY minute, service, name;
DELETE FROM rates_recent
