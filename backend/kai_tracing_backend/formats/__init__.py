"""Spans as documents that other programs read."""
