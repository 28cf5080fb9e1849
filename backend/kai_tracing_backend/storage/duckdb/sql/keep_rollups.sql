-- The tables of the history that are by the minute.
SELECT table_name FROM duckdb_columns() WHERE database_name = 'history' AND column_name = 'minute' ORDER BY table_name
