"""The query language: `parse` and `parse_condition` read it, `all_of` makes a query of conditions without text."""

from kai_tracing_backend.language.building import all_of, attribute, compare
from kai_tracing_backend.language.errors import QueryError
from kai_tracing_backend.language.nodes import TraceQuery
from kai_tracing_backend.language.parser import parse, parse_condition

__all__ = ["QueryError", "TraceQuery", "all_of", "attribute", "compare", "parse", "parse_condition"]
