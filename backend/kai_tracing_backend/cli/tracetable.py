"""Traces in a list, a line for each: for a page of them, and as they come."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from kai_tracing_backend.cli.durations import shown
from kai_tracing_backend.cli.output import clean
from kai_tracing_backend.language.vocabulary import INTRINSICS
from kai_tracing_backend.values import from_otlp, plain

__all__ = ["TraceTable"]

_WIDE = 110
_AGGREGATED = re.compile(r"(?:avg|min|max|sum)\((\w+)\)")
_TIME, _DURATION, _NUMBER = 19, 10, 8


class TraceTable:
    """The columns for a terminal of so many cells: when, which, how long, how many spans and errors, and what.

    In a narrow one the time is without its day, and the id has its first half only, which is enough to ask for it.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        wide = width >= _WIDE
        self._id = 32 if wide else 16
        self._format = "%Y-%m-%d %H:%M:%S" if wide else "%H:%M:%S"
        self._time = _TIME if wide else 8

    def head(self) -> Text:
        """The columns' names."""
        names = f"{'started':<{self._time}}  {'trace':<{self._id}}{'duration':>{_DURATION}}"
        return self._fitting(Text(f"{names}{'spans':>{_NUMBER}}{'errors':>{_NUMBER}}  root", "bold"))

    def line(self, trace: Mapping[str, Any]) -> Text:
        """One trace, as the search has it."""
        started = datetime.fromtimestamp(int(trace["startTimeUnixNano"]) / 1e9).astimezone()
        text = Text(f"{started:{self._format}}", "dim")
        text.append(f"  {trace['traceId'][: self._id]}", "not dim")
        text.append(f"{shown(trace['durationNanos']):>{_DURATION}}{trace['spans']:>{_NUMBER}}", "not dim")
        text.append(f"{trace['errors'] or '':>{_NUMBER}}", "not dim bold red")
        text.append(f"  {clean(trace['service'])}", "not dim cyan")
        text.append(f": {clean(trace['name'])}", "not dim")
        return self._fitting(text)

    def found(self, trace: Mapping[str, Any]) -> Iterator[Text]:
        """Lines for the spans that were found in it, with the attributes that the query names."""
        for spans in trace["spanSets"]:
            for entry in spans["attributes"]:
                yield self._fitting(Text(f"    {_attribute(entry)}", "dim"))
            for span in spans["spans"]:
                text = Text(f"    {clean(span['service'])}", "cyan")
                text.append(f": {clean(span['name'])}  ", "bold red" if span["status"] == "error" else "default")
                text.append(shown(span["durationNanos"]), "default")
                for entry in span["attributes"]:
                    text.append(f"  {_attribute(entry)}", "default dim")
                yield self._fitting(text)
            if spans["matched"] > len(spans["spans"]):
                yield Text(f"    … {spans['matched']} in all", "dim")

    def _fitting(self, text: Text) -> Text:
        text.no_wrap = True
        text.truncate(self._width, overflow="ellipsis")
        return text


def _attribute(entry: Mapping[str, Any]) -> str:
    """A field or an aggregate of the query and its value, in the language's words."""
    key, value = entry["key"], from_otlp(entry["value"])
    kind = INTRINSICS.get(_AGGREGATED.sub(r"\1", key))
    if kind == "duration" and isinstance(value, (int, float)):
        return f"{key} = {shown(value)}"
    return clean(f"{key} = {plain(value)}")
