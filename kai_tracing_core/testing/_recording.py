"""The part of the contract that is about what a span records."""

from __future__ import annotations

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import pytest

from kai_tracing_core.provider import TracingProvider
from kai_tracing_core.service import TracingService
from kai_tracing_core.span import Link, SpanKind, SpanOptions, SpanStatusCode
from kai_tracing_core.testing._base import Contract
from kai_tracing_core.testing.suite import needs
from kai_tracing_core.trace_context import TraceContext

__all__ = ["RecordingContract"]

_SECOND = 1_000_000_000
_NOON = 1_700_000_000 * _SECOND
_ELSEWHERE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, is_remote=True)


class RecordingContract(Contract, contract=True):
    """Lifecycle, status, limits, attribute types, events, links and exceptions."""

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    @needs("records")
    def test_a_span_is_recorded_with_what_it_was_given(self, provider: TracingProvider) -> None:
        """Name, kind, attributes and ids of a started span are what comes out when it ends, once."""
        span = provider.start_span("checkout", SpanOptions(SpanKind.SERVER, {"cart.items": 3}))
        assert span.is_recording()
        assert self.finished(provider) == []
        provider.end_span(span)
        recorded = self.only(provider)
        assert (recorded.name, recorded.kind, recorded.attributes) == ("checkout", SpanKind.SERVER, {"cart.items": 3})
        assert re.fullmatch("[0-9a-f]{32}", recorded.trace_id)
        assert re.fullmatch("[0-9a-f]{16}", recorded.span_id)
        assert recorded.parent_id is None
        assert (recorded.trace_id, recorded.span_id) == (span.trace_id, span.span_id)

    @needs("records")
    def test_defaults(self, provider: TracingProvider) -> None:
        """A span that is told nothing is internal, without attributes, events and links, and its status is unset."""
        provider.end_span(provider.start_span("plain"))
        span = self.only(provider)
        assert (span.kind, span.status, span.status_message) == (SpanKind.INTERNAL, SpanStatusCode.UNSET, None)
        assert (dict(span.attributes), list(span.events), list(span.links)) == ({}, [], [])

    @needs("records")
    @pytest.mark.parametrize("kind", SpanKind)
    def test_every_kind(self, provider: TracingProvider, kind: SpanKind) -> None:
        """Each span kind is kept."""
        provider.end_span(provider.start_span("operation", SpanOptions(kind)))
        assert self.only(provider).kind is kind

    @needs("records")
    def test_a_span_ends_once(self, provider: TracingProvider) -> None:
        """Ending a span again, by either way, delivers it no second time and keeps its end time."""
        span = provider.start_span("once")
        provider.end_span(span, _NOON + (1 << 60))
        provider.end_span(span)
        span.end()
        assert self.only(provider).end_time == _NOON + (1 << 60)

    @needs("records")
    def test_two_threads_end_a_span_once(self, provider: TracingProvider) -> None:
        """Threads that end the same spans at the same time deliver each of them once."""
        spans = [provider.start_span(str(number), SpanOptions(activate=False)) for number in range(100)]
        together = threading.Barrier(4)

        def end_all() -> None:
            together.wait(10)
            for span in spans:
                span.end()

        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(end_all) for _ in range(4)]:
                future.result(30)
        assert sorted(span.name for span in self.finished(provider)) == sorted(span.name for span in spans)

    @needs("records")
    def test_nothing_changes_after_the_end(self, provider: TracingProvider) -> None:
        """A span that has ended takes nothing any more and says so."""
        span = provider.start_span("finished")
        span.end()
        assert not span.is_recording()
        span.set_attribute("late", 1)
        span.set_attributes({"later": 2})
        span.add_event("late")
        span.add_link(_ELSEWHERE)
        span.record_exception(ValueError("late"))
        span.set_status(SpanStatusCode.ERROR, "late")
        span.update_name("late")
        recorded = self.only(provider)
        assert (recorded.name, recorded.status) == ("finished", SpanStatusCode.UNSET)
        assert (dict(recorded.attributes), list(recorded.events), list(recorded.links)) == ({}, [], [])

    @needs("records")
    def test_update_name(self, provider: TracingProvider) -> None:
        """The last name before the end is the span's."""
        span = provider.start_span("GET")
        span.update_name("GET /users/{id}")
        span.end()
        assert self.only(provider).name == "GET /users/{id}"

    @needs("records")
    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (_NOON, _NOON + 2 * _SECOND),
            (_NOON / _SECOND, _NOON / _SECOND + 2),
            (datetime.fromtimestamp(_NOON / _SECOND, timezone.utc), _NOON + 2 * _SECOND),
        ],
        ids=["nanoseconds", "seconds", "datetime"],
    )
    def test_times_may_be_given(self, provider: TracingProvider, start: Any, end: Any) -> None:
        """Start and end may be given in nanoseconds, in seconds or as a datetime."""
        provider.end_span(provider.start_span("timed", SpanOptions(start_time=start)), end)
        span = self.only(provider)
        assert (span.start_time, span.end_time, span.duration) == (_NOON, _NOON + 2 * _SECOND, 2.0)

    @needs("records")
    def test_the_clock_is_used_otherwise(self, provider: TracingProvider) -> None:
        """A span's times are those of its start and its end, in their order."""
        for name in ("first", "second"):
            provider.end_span(provider.start_span(name))
        first, second = self.finished(provider)
        assert first.end_time is not None
        assert second.end_time is not None
        assert first.start_time <= first.end_time <= second.start_time <= second.end_time

    @needs("records")
    def test_no_duration_is_negative(self, provider: TracingProvider) -> None:
        """A span that is told to end before its start ends at its start."""
        provider.end_span(provider.start_span("back", SpanOptions(start_time=_NOON)), _NOON - 1)
        assert self.only(provider).end_time == _NOON

    @needs("records")
    def test_many_threads(self, provider: TracingProvider) -> None:
        """Spans of many threads are all recorded, with span ids of their own."""

        def work(number: int) -> None:
            for item in range(25):
                with provider.span(f"{number}-{item}"):
                    pass

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        spans = self.finished(provider)
        assert len(spans) == len({span.span_id for span in spans}) == 200

    @needs("records")
    def test_blocks(self, provider: TracingProvider) -> None:
        """A `with` block and an `async with` block each end their span."""

        async def block() -> None:
            async with provider.span("async") as span:
                assert span.is_recording()

        with provider.span("sync", kind=SpanKind.CLIENT, attributes={"a": 1}) as span:
            assert span.is_recording()
        asyncio.run(block())
        assert [span.name for span in self.finished(provider)] == ["sync", "async"]

    # -- status ------------------------------------------------------------------------------------------------------

    @needs("records")
    @pytest.mark.parametrize(
        ("calls", "status", "message"),
        [
            ([(SpanStatusCode.OK, None)], SpanStatusCode.OK, None),
            ([(SpanStatusCode.ERROR, "bad")], SpanStatusCode.ERROR, "bad"),
            ([(SpanStatusCode.OK, "no message goes with OK")], SpanStatusCode.OK, None),
            ([(SpanStatusCode.OK, None), (SpanStatusCode.ERROR, "too late")], SpanStatusCode.OK, None),
            ([(SpanStatusCode.ERROR, "bad"), (SpanStatusCode.UNSET, None)], SpanStatusCode.ERROR, "bad"),
            ([(SpanStatusCode.ERROR, "bad"), (SpanStatusCode.ERROR, "worse")], SpanStatusCode.ERROR, "worse"),
            ([(SpanStatusCode.ERROR, "bad"), (SpanStatusCode.OK, None)], SpanStatusCode.OK, None),
        ],
    )
    def test_status(self, provider: TracingProvider, calls: Any, status: SpanStatusCode, message: str | None) -> None:
        """OK is final, UNSET overrides nothing, the last error counts, and only errors have a message."""
        span = provider.start_span("operation")
        for code, text in calls:
            provider.set_span_status(span, code, text)
        span.end()
        recorded = self.only(provider)
        assert (recorded.status, recorded.status_message) == (status, message)

    # -- attributes --------------------------------------------------------------------------------------------------

    @needs("records")
    @pytest.mark.parametrize(
        "value",
        ["text", "", "ünïcödé ☃", True, False, 0, -1, 2**63 - 1, -(2**63), 1.5, ["a", "b"], [1, 2], [1.5], [True], []],
        ids=repr,
    )
    def test_attribute_values(self, provider: TracingProvider, value: Any) -> None:
        """Strings, booleans, integers, floats and sequences of one of them are kept as they are."""
        span = provider.start_span("operation", SpanOptions(attributes={"at.start": value}))
        provider.add_span_attributes(span, {"added": value})
        span.set_attribute("set", value)
        span.end()
        attributes = self.only(provider).attributes
        for key in ("at.start", "added", "set"):
            kept: Any = attributes[key]
            if isinstance(value, list):
                kept = list(kept)
            assert kept == value
            assert type(kept) is type(value)

    @needs("records")
    @pytest.mark.parametrize("value", [None, object(), {"a": 1}, b"\xff", 2**70, ["a", 1, None], {1, 2}, float("nan")])
    def test_other_values_do_no_harm(self, provider: TracingProvider, value: Any) -> None:
        """A value of any other type is converted or dropped; it neither raises nor takes its neighbours along."""
        span = provider.start_span("operation", SpanOptions(attributes={"odd": value, "even": 2}))
        span.set_attribute("odder", value)
        span.end()
        recorded = self.only(provider)
        assert recorded.attributes["even"] == 2
        for kept in recorded.attributes.values():
            assert isinstance(kept, (str, bool, int, float, list, tuple))

    @needs("records")
    def test_the_last_value_counts(self, provider: TracingProvider) -> None:
        """Setting an attribute again replaces its value."""
        span = provider.start_span("operation", SpanOptions(attributes={"key": 1}))
        span.set_attribute("key", 2)
        span.end()
        assert self.only(provider).attributes == {"key": 2}

    @needs("records")
    def test_the_callers_mapping_is_copied(self, provider: TracingProvider) -> None:
        """What the caller does with its dictionary after the start is not seen, nor is the dictionary changed."""
        mine: dict[str, Any] = {"key": "start"}
        span = provider.start_span("operation", SpanOptions(attributes=mine))
        event: dict[str, Any] = {"key": "event"}
        span.add_event("event", event)
        mine["key"] = event["key"] = "later"
        span.set_attribute("own", 1)
        span.end()
        recorded = self.only(provider)
        assert recorded.attributes == {"key": "start", "own": 1}
        assert recorded.events[0].attributes == {"key": "event"}
        assert mine == {"key": "later"}

    # -- limits ------------------------------------------------------------------------------------------------------

    @needs("records")
    def test_limits(self, provider: TracingProvider) -> None:
        """Attributes, events and links past the limits are dropped and counted; what came first stays."""
        limits = self.limits
        span = provider.start_span("full")
        for number in range(limits.attributes + 2):
            span.set_attribute(f"key{number}", number)
        span.set_attribute("key0", "again")
        for number in range(limits.events + 3):
            span.add_event(str(number))
        for number in range(limits.links + 4):
            span.add_link(TraceContext(1, number + 1))
        span.end()
        recorded = self.only(provider)
        counts = (len(recorded.attributes), len(recorded.events), len(recorded.links))
        assert counts == (limits.attributes, limits.events, limits.links)
        assert (recorded.dropped_attributes, recorded.dropped_events, recorded.dropped_links) == (2, 3, 4)
        assert recorded.attributes["key0"] == "again"

    @needs("records")
    def test_limits_at_the_start(self, provider: TracingProvider) -> None:
        """The limits hold for what is given at the start, too."""
        limits = self.limits
        attributes = {f"key{number}": number for number in range(limits.attributes + 2)}
        links = [TraceContext(1, number + 1) for number in range(limits.links + 4)]
        provider.start_span("full", SpanOptions(attributes=attributes, links=links)).end()
        recorded = self.only(provider)
        assert (len(recorded.attributes), len(recorded.links)) == (limits.attributes, limits.links)
        assert (recorded.dropped_attributes, recorded.dropped_links) == (2, 4)

    # -- events, links, exceptions -----------------------------------------------------------------------------------

    @needs("records")
    def test_events(self, provider: TracingProvider) -> None:
        """Events are kept in their order, with their attributes and their time: a given one, or that of the call."""
        span = provider.start_span("operation")
        provider.add_span_event(span, "given", {"n": 1}, _NOON)
        span.add_event("seconds", timestamp=_NOON / _SECOND)
        provider.add_span_event(span, "now")
        span.end()
        recorded = self.only(provider)
        given, seconds, now = recorded.events
        assert (given.name, dict(given.attributes), given.timestamp) == ("given", {"n": 1}, _NOON)
        assert (seconds.name, dict(seconds.attributes), seconds.timestamp) == ("seconds", {}, _NOON)
        assert recorded.end_time is not None
        assert recorded.start_time <= now.timestamp <= recorded.end_time

    @needs("records")
    def test_links(self, provider: TracingProvider) -> None:
        """Links, given at the start as contexts or `Link`s or added later, are kept with their attributes."""
        other = provider.start_span("other", SpanOptions(activate=False))
        span = provider.start_span("operation", SpanOptions(links=[_ELSEWHERE, Link(_ELSEWHERE, {"n": 1})]))
        span.add_link(other, {"n": 2})
        span.add_link(TraceContext())
        span.end()
        links = self.only(provider).links
        assert [dict(link.attributes) for link in links] == [{}, {"n": 1}, {"n": 2}]
        expected = [(context.trace_id, context.span_id) for context in (_ELSEWHERE, _ELSEWHERE, other)]
        assert [(link.context.trace_id, link.context.span_id) for link in links] == expected

    @needs("records")
    def test_an_escaping_exception(self, provider: TracingProvider) -> None:
        """An exception that leaves the block is raised on and recorded with its stack, and the status is ERROR."""

        def fail() -> None:
            with provider.span("operation"):
                raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            fail()
        span = self.only(provider)
        (event,) = span.events
        assert event.name == "exception"
        assert event.attributes["exception.type"] == "ValueError"
        assert event.attributes["exception.message"] == "broken"
        assert "raise ValueError" in event.attributes["exception.stacktrace"]
        assert span.status is SpanStatusCode.ERROR
        assert "broken" in (span.status_message or "")

    @needs("records")
    def test_exceptions_may_be_left_out(self, provider: TracingProvider) -> None:
        """`record_exception=False` leaves event and status to the application."""
        with pytest.raises(ValueError, match="broken"), provider.span("operation", record_exception=False):
            raise ValueError("broken")
        span = self.only(provider)
        assert (list(span.events), span.status) == ([], SpanStatusCode.UNSET)

    @needs("records")
    @pytest.mark.parametrize(
        "error", [GeneratorExit(), asyncio.CancelledError(), SystemExit(0), SystemExit()], ids=repr
    )
    def test_leaving_on_purpose_is_no_error(self, provider: TracingProvider, error: BaseException) -> None:
        """Closed generators, cancelled tasks and a deliberate exit are raised on, and are no failures."""
        with pytest.raises(type(error)), provider.span("operation"):
            raise error
        span = self.only(provider)
        assert (list(span.events), span.status) == ([], SpanStatusCode.UNSET)

    @needs("records")
    def test_a_handled_exception(self, provider: TracingProvider) -> None:
        """`record_exception` adds the event with further attributes and leaves the status alone."""
        with provider.span("operation") as span:
            span.record_exception(KeyError("k"), {"attempt": 1})
        recorded = self.only(provider)
        assert recorded.events[0].attributes["attempt"] == 1
        assert recorded.events[0].attributes["exception.type"] == "KeyError"
        assert recorded.status is SpanStatusCode.UNSET

    @needs("records")
    def test_traced_functions(self, service: TracingService, provider: TracingProvider) -> None:
        """`traced` and `with_span` record one span a call and hand the result on, for functions and coroutines."""

        @service.traced
        def double(number: int) -> int:
            return number * 2

        @service.traced("named", kind=SpanKind.CONSUMER)
        async def triple(number: int) -> int:
            return number * 3

        async def query() -> int:
            return 5

        async def main() -> tuple[int, int]:
            return await triple(2), await service.with_span("query", query, kind=SpanKind.CLIENT)

        assert double(2) == 4
        assert asyncio.run(main()) == (6, 5)
        assert service.with_span("plain", lambda: 7) == 7
        kinds = [(span.name.rpartition(".")[2], span.kind) for span in self.finished(provider)]
        assert kinds == [
            ("double", SpanKind.INTERNAL),
            ("named", SpanKind.CONSUMER),
            ("query", SpanKind.CLIENT),
            ("plain", SpanKind.INTERNAL),
        ]

    # -- bad input ---------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "options",
        [
            {"name": None},
            {"name": 5},
            {"attributes": 5},
            {"attributes": {5: 5, "": 1, None: None}},
            {"kind": None},
            {"kind": "client"},
            {"links": None},
            {"links": 5},
            {"links": ["x", None]},
            {"parent": "x"},
            {"start_time": "x"},
            {"start_time": float("nan")},
            {"start_time": -(2**80)},
        ],
        ids=repr,
    )
    def test_bad_arguments_of_the_start_never_raise(self, provider: TracingProvider, options: dict[str, Any]) -> None:
        """Whatever nonsense a span is started with: nothing raises, the span counts, and it can be read."""
        arguments = {"name": "operation", **options}
        with provider.span(**arguments):
            pass
        name = arguments.pop("name")
        provider.start_span(name, SpanOptions(**arguments)).end()
        if self.records:
            for span in self.finished(provider):
                assert isinstance(span.kind, SpanKind)
                assert isinstance(span.name, str)
                assert all(isinstance(key, str) and key for key in span.attributes)
                assert 0 <= span.start_time <= (span.end_time or 0) < 2**63
            assert len(self.finished(provider)) == 2

    def test_bad_arguments_of_a_span_never_raise(self, provider: TracingProvider) -> None:
        """Whatever nonsense a span is told: nothing raises, and the rest of it is kept."""
        bad: Any
        span = provider.start_span("operation")
        for bad in (None, 5, "x", object(), [], b"\xff"):
            span.set_attribute(bad, 1)
            span.set_attributes(bad)
            span.add_event(bad, bad, bad)
            span.add_link(bad, bad)
            span.add_link(Link(bad), bad)
            span.record_exception(bad, bad, bad)
            span.set_status(bad, bad)
        span.update_name("good")
        span.set_attribute("good", 1)
        span.end("x")  # type: ignore[arg-type] # the nonsense that is tested
        if self.records:
            recorded = self.only(provider)
            assert recorded.name == "good"
            assert recorded.attributes["good"] == 1
            assert all(isinstance(event.name, str) for event in recorded.events)
            assert isinstance(recorded.status, SpanStatusCode)
            assert list(recorded.links) == []
