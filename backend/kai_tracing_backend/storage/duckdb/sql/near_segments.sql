-- The segments of this file that have spans of the wanted traces: recent ones first, then those that began at about
-- the same time.
SELECT segment
FROM (SELECT DISTINCT segment FROM traces SEMI JOIN wanted USING (trace_low, trace_high))
LEFT JOIN segments USING (segment)
GROUP BY segment
ORDER BY greatest(0, min(first_start) - $last, $first - max(last_start))
LIMIT $limit
