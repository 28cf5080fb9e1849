"""A trace in the terminal: a line for each span, with a bar on the time scale that all of them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from kai_tracing_backend.cli.durations import shown
from kai_tracing_backend.cli.output import clean
from kai_tracing_backend.cli.spantree import Row, Span, tree
from kai_tracing_backend.values import from_otlp, plain

__all__ = ["waterfall"]

_COLOURS = ("cyan", "green", "yellow", "blue", "magenta", "bright_cyan", "bright_green", "bright_yellow", "bright_blue")
_GAP = 2
_DURATION = 8  # cells: `999.9 ms`, `59 min 9 s` is longer but rare
_BAR = range(16, 81)  # cells
_SERVICE = 20


def waterfall(
    documents: Sequence[Mapping[str, Any]], width: int, *, verbose: int = 0, limit: int = 0
) -> Iterator[Text]:
    """The lines of a trace, of spans as the API has them, none longer than `width` cells.

    `verbose` 1 adds attributes, events and links, 2 resource and scope as well. `limit` is how many spans are drawn;
    0 is all of them.
    """
    rows = tree(documents)
    drawn = rows[: limit or None]
    layout = _Layout(drawn, [row.span for row in rows], width)
    yield from layout.head(documents[0]["traceId"])
    for row in drawn:
        yield layout.line(row)
        for text, style in _details(row.span, verbose):
            yield layout.below(row, text, style)
    if len(drawn) < len(rows):
        yield Text(f"… and {len(rows) - len(drawn)} more; --limit 0 draws all", "dim")


class _Layout:
    """The columns: name with the tree's guides, service, duration, bar. In a narrow terminal the bars go first."""

    def __init__(self, rows: Sequence[Row], spans: Sequence[Span], width: int) -> None:
        self._spans = spans
        self._width = max(width, 24)
        self._begin = min(span.start for span in spans)
        self._length = max(1, max(span.start + span.duration for span in spans) - self._begin)
        names = list(dict.fromkeys(span.service for span in spans))
        self._colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)}
        self._service = min(max(cell_len(clean(row.span.service)) for row in rows), _SERVICE, self._width // 5)
        wanted = max(len(row.guides) + cell_len(clean(row.span.name)) for row in rows)
        fixed = self._service + _DURATION + 2 * _GAP
        room = self._width - fixed
        self._name = min(wanted, max(room // 2, room - _GAP - _BAR[-1]))
        self._bar = min(room - self._name - _GAP, _BAR[-1])
        if self._bar < _BAR[0]:
            self._bar, self._name = 0, min(wanted, room)

    def head(self, trace_id: str) -> Iterator[Text]:
        """What the trace is, and the time scale."""
        first = self._spans[0]
        failed = sum(span.failed for span in self._spans)
        began = datetime.fromtimestamp(self._begin / 1e9).astimezone()
        yield self._fitting(Text(f"{clean(first.service)}: {clean(first.name)}", "bold"))
        yield self._fitting(Text(f"trace {trace_id}", "dim"))
        facts = Text(f"{shown(self._length)}  {_count(len(self._spans), 'span')}")
        if failed:
            facts.append(f"  {_count(failed, 'error')}", "bold red")
        facts.append(f"  {_count(len(self._colours), 'service')}")
        facts.append(f"  {began:%Y-%m-%d %H:%M:%S}.{self._begin // 1_000_000 % 1_000:03d}")
        yield self._fitting(facts)
        if self._bar:
            yield self._scale()

    def _scale(self) -> Text:
        """Times over the bars, as many as there is room for."""
        parts = max(1, self._bar // 20)
        cells = [" "] * self._bar
        for part in range(parts + 1):
            label = shown(self._length * part / parts) if part else "0"
            place = round(self._bar * part / parts)
            place = min(place, self._bar - len(label)) if part else 0
            cells[place : place + len(label)] = label
        return Text(" " * (self._name + self._service + _DURATION + 3 * _GAP) + "".join(cells), "dim")

    def line(self, row: Row) -> Text:
        """A span's line."""
        span, guides = row.span, _shortened(row.guides, self._name * 2 // 3)
        colour = self._colours[span.service]
        text = Text()
        text.append(guides, "dim")
        text.append(_cut(clean(span.name), self._name - len(guides)), "bold red" if span.failed else "")
        text.append(" " * _GAP)
        text.append(_cut(clean(span.service), self._service), colour)
        text.append(f"{shown(span.duration):>{_GAP + _DURATION}}", "red" if span.failed else "")
        if self._bar:
            text.append(" " * _GAP)
            text.append(self._drawn(span), "red" if span.failed else colour)
        text.rstrip()
        return self._fitting(text)

    def _drawn(self, span: Span) -> str:
        """The bar, to half a cell: every span has one, however short it is."""
        halves = 2 * self._bar
        begin = min(halves - 1, halves * (span.start - self._begin) // self._length)
        end = min(halves, max(begin + 1, round(halves * (span.start + span.duration - self._begin) / self._length)))
        cells = [" "] * (begin // 2)
        if begin % 2:
            cells.append("╺")
        cells.extend("━" * (end // 2 - (begin + 1) // 2))
        if end % 2 and end // 2 >= (begin + 1) // 2:
            cells.append("╸")
        return "".join(cells)

    def below(self, row: Row, said: str, style: str) -> Text:
        """A line beneath the span's."""
        text = Text()
        text.append(_shortened(row.below, self._name * 2 // 3) + "  ", "dim")
        text.append(clean(said), style)
        return self._fitting(text)

    def _fitting(self, text: Text) -> Text:
        text.no_wrap = True
        text.truncate(self._width, overflow="ellipsis")
        return text


def _details(span: Span, verbose: int) -> Iterator[tuple[str, str]]:
    """The lines beneath a span with their style: why it failed, and what else is asked for."""
    document = span.document
    if span.failed:
        yield f"✗ {_failure(document)}", "red"
    if not verbose:
        return
    if span.document.get("adjustedCount", 1) != 1:
        yield f"stands for {document['adjustedCount']:g} spans", "dim"
    yield from ((line, "dim") for line in _attributes(document["attributes"]))
    for event in document["events"]:
        yield f"● {shown(int(event['timeUnixNano']) - span.start)}  {event['name']}", "dim"
        yield from ((f"  {line}", "dim") for line in _attributes(event["attributes"]))
    for link in document["links"]:
        yield f"→ trace {link['traceId']} span {link['spanId']}", "dim"
        yield from ((f"  {line}", "dim") for line in _attributes(link["attributes"]))
    if verbose > 1:
        yield from ((f"resource.{line}", "dim") for line in _attributes(document["resource"]["attributes"]))
        scope = document["scope"]
        yield f"scope {scope['name']} {scope['version']}", "dim"


def _failure(document: Mapping[str, Any]) -> str:
    """What a failed span says of its failure: its status, its exception or its `error.type`."""
    if message := document["status"].get("message"):
        return str(message)
    for event in reversed(document["events"]):
        said = {entry["key"]: plain(from_otlp(entry["value"])) for entry in event["attributes"]}
        if found := [said[key] for key in ("exception.type", "exception.message") if said.get(key)]:
            return ": ".join(found)
    said = {entry["key"]: plain(from_otlp(entry["value"])) for entry in document["attributes"]}
    return said.get("error.type", "") or "failed"


def _attributes(attributes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in attributes:
        yield f"{entry['key']} = {plain(from_otlp(entry['value']))}"


def _cut(text: str, cells: int) -> str:
    """The text in exactly so many cells."""
    return set_cell_size(text, cells) if cell_len(text) <= cells else set_cell_size(text, cells - 1) + "…"


def _shortened(guides: str, most: int) -> str:
    """The guides in at most so many cells: of a deep tree the innermost levels."""
    return guides if len(guides) <= most else "…" + guides[1 - max(2, most) :]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
