-- The tables of a file, beside the spans, whose rows are of traces.
SELECT table_name
FROM duckdb_columns()
WHERE database_name = $file AND table_name <> 'spans' AND column_name IN ('trace_high', 'trace_low')
GROUP BY table_name
HAVING count(*) = 2
ORDER BY table_name
