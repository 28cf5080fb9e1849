"""kai-tracing provider for Jaeger: OTLP, agent UDP and collector HTTP thrift."""
