-- Every segment that a run of recent spans will be may have it.
SELECT segment FROM attribute_index WHERE fingerprint IN ($value, $other)
UNION
SELECT unnest(range(segment, segment + $segments))::INTEGER FROM (SELECT DISTINCT segment FROM spans_recent)
ORDER BY segment
