"""What a span store is tested with."""
