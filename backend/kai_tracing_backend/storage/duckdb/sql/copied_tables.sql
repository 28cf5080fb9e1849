SELECT table_name FROM duckdb_tables() WHERE database_name = $file AND NOT internal ORDER BY table_name
