-- Each attribute and value of a segment once, as `attribute_index.fingerprint` makes a number of them.
INSERT INTO attribute_index
SELECT DISTINCT (md5_number_lower(entry) & 268_435_455)::UINTEGER AS fingerprint, segment
FROM (
    SELECT DISTINCT segment, entry
    FROM (
        SELECT segment, unnest(list_transform(map_entries(attributes_string), lambda x: x.key || chr(31) || x.value))
            AS entry
        FROM (/* spans */)
        UNION ALL
        SELECT segment, unnest(list_transform(map_entries(attributes_int), lambda x: x.key || chr(30) || x.value))
        FROM (/* spans */)
        UNION ALL
        SELECT segment, unnest(list_transform(map_keys(attributes_other), lambda key: key || chr(29))) FROM (/* spans */)
        UNION ALL
        SELECT segment, unnest([
            'url.path' || chr(31) || "url.path",
            'url.full' || chr(31) || "url.full",
            'http.url' || chr(31) || "http.url",
            'http.target' || chr(31) || "http.target",
            'client.address' || chr(31) || "client.address",
            'db.query.text' || chr(31) || "db.query.text",
            'db.statement' || chr(31) || "db.statement"
        ])
        FROM (/* spans */)
    )
    WHERE entry IS NOT NULL
)
ORDER BY fingerprint, segment
