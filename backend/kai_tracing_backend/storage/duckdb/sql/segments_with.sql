SELECT segment FROM attribute_index WHERE fingerprint = $fingerprint
UNION
SELECT segment FROM attributes_recent WHERE fingerprint = $fingerprint
ORDER BY segment
