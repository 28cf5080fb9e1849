INSERT INTO scopes
SELECT
    (SELECT coalesce(max(id), 0) FROM scopes) + row_number() OVER (),
    text
FROM (SELECT DISTINCT scope AS text FROM incoming)
WHERE text NOT IN (SELECT text FROM scopes)
