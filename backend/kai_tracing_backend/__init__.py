"""The trace backend: `kai-tracing serve` takes traces from anybody, stores them and answers for them."""
