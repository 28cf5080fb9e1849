INSERT INTO resources
SELECT
    (SELECT coalesce(max(id), 0) FROM resources) + row_number() OVER (),
    text
FROM (SELECT DISTINCT resource AS text FROM incoming)
WHERE text NOT IN (SELECT text FROM resources)
