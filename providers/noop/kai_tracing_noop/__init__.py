"""kai-tracing provider for No-op: records nothing and passes the trace context on."""
