SELECT segment FROM attribute_index WHERE fingerprint IN ($value, $other)
UNION
SELECT segment FROM attributes_recent WHERE fingerprint IN ($value, $other)
ORDER BY segment
