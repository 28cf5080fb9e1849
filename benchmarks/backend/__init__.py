"""What the trace backend's store costs: `python -m benchmarks.backend`."""
