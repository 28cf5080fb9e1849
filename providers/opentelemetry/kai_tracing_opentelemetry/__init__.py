"""kai-tracing provider for OpenTelemetry: OTLP over HTTP and gRPC, and its API over our spans."""
