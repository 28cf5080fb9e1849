"""The rows, one module per group: each has its cases as functions, and `ROWS`."""
