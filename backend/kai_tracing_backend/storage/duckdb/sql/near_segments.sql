-- The segments of this file that have spans of the wanted traces, those that began at about the same time first.
SELECT segment
FROM (SELECT DISTINCT segment FROM traces SEMI JOIN wanted USING (trace_low, trace_high))
JOIN segments USING (segment)
GROUP BY segment
ORDER BY greatest(0, min(first_start) - $last, $first - max(last_start))
LIMIT $limit
