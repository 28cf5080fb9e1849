"""Spans as lines of JSON in a file, and a sampler that keeps every n-th trace."""

from kai_tracing_jsonlines.provider import JsonLinesProvider
from kai_tracing_jsonlines.sampler import EveryNth

__all__ = ["EveryNth", "JsonLinesProvider"]
