-- The tables of a file whose rows are of traces, beside the spans that are settled.
SELECT table_name
FROM duckdb_columns()
SEMI JOIN duckdb_tables() USING (database_name, schema_name, table_name)
WHERE database_name = $file AND table_name <> 'spans_settled' AND column_name IN ('trace_high', 'trace_low')
GROUP BY table_name
HAVING count(*) = 2
ORDER BY table_name
