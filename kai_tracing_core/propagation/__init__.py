"""Formats in which a trace context travels."""
