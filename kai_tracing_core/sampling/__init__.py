"""Strategies that decide which traces are recorded."""
