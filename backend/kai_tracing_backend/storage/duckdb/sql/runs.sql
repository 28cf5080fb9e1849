-- The runs of recent spans, and how many spans each has.
SELECT segment, count(*) FROM spans_recent GROUP BY segment ORDER BY segment
