"""The embedded store: DuckDB, one file for each day."""
