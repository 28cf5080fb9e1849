"""kai-tracing provider for In-memory: finished spans as a queryable list, for tests."""
