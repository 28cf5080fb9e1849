"""kai-tracing provider for Zipkin: v2 JSON and protobuf over HTTP."""
