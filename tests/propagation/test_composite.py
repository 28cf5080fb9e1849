"""Several formats at once: which wins, and what is added up."""

from __future__ import annotations

from collections.abc import MutableMapping

import pytest

from kai_tracing_core import TraceContext, TracingService, initialize_tracing, plugins
from kai_tracing_core.discovery import installed
from kai_tracing_core.propagation.base import Headers, Propagator
from kai_tracing_core.propagation.composite import (
    BUILT_IN,
    CompositePropagator,
    built_in_propagator,
    default_propagator,
)
from kai_tracing_core.settings import TracingSettings
from kai_tracing_core.trace_context import DECISION_ONLY, SAMPLED

W3C = {"traceparent": "00-0000000000000000000000000000000a-000000000000000b-01", "tracestate": "a=1"}
B3 = {"b3": "000000000000000000000000000000bb-00000000000000bb-0"}
JAEGER = {"uber-trace-id": "cc:cc:0:1"}


def trace_of(names: str, headers: dict[str, str]) -> int | None:
    """The trace id that these formats find, from a dictionary and from pairs alike."""
    propagator = default_propagator(names.split(","))
    found = propagator.extract_from(headers)
    assert found == propagator.extract_from([(name.title(), value) for name, value in headers.items()])
    return None if found is None else found._trace_id


@pytest.mark.parametrize(
    ("names", "headers", "expected"),
    [
        ("tracecontext,b3,jaeger", {**W3C, **B3, **JAEGER}, 0xA),
        ("b3,tracecontext,jaeger", {**W3C, **B3, **JAEGER}, 0xBB),
        ("jaeger,b3,tracecontext", {**W3C, **B3, **JAEGER}, 0xCC),
        ("tracecontext,b3", {"traceparent": "rubbish", **B3}, 0xBB),
        ("tracecontext,b3", JAEGER, None),
        ("b3,tracecontext", {"b3": "0", **W3C}, 0xA),
        ("tracecontext,b3", {"b3": "0", **W3C}, 0xA),
        ("b3,jaeger", {"b3": "1", "jaeger-debug-id": "x"}, 0),
    ],
)
def test_first_ids_win(names: str, headers: dict[str, str], expected: int | None) -> None:
    """The first format that finds ids wins; a decision alone gives way to ids of any format."""
    assert trace_of(names, headers) == expected


def test_the_winner_brings_its_state() -> None:
    """`tracestate` belongs to `traceparent`: it is not mixed into another format's ids."""
    found = default_propagator(["b3", "tracecontext"]).extract_from({**B3, **W3C})
    assert found is not None
    assert found.trace_state == ""
    assert not found.is_sampled


@pytest.mark.parametrize("names", ["b3,baggage", "baggage,b3", "b3,jaeger,baggage"])
def test_a_decision_alone_is_kept(names: str) -> None:
    """Without ids anywhere the decision stands, with the baggage of the other formats."""
    found = default_propagator(names.split(",")).extract_from({"b3": "1", "baggage": "a=1"})
    assert found == TraceContext(flags=SAMPLED | DECISION_ONLY, is_remote=True, baggage={"a": "1"})


@pytest.mark.parametrize("names", ["tracecontext,baggage,jaeger", "jaeger,baggage,tracecontext"])
def test_baggage_is_added_up(names: str) -> None:
    """Baggage of all formats comes together, whichever format has the ids; the earlier one's entry wins."""
    headers = {**W3C, "baggage": "a=w3c,b=w3c", "uberctx-b": "jaeger", "uberctx-c": "jaeger"}
    found = default_propagator(names.split(",")).extract_from(headers)
    assert found is not None
    assert found.trace_id.endswith("0a")
    b = "jaeger" if names.startswith("jaeger") else "w3c"
    assert found.baggage == {"a": "w3c", "b": b, "c": "jaeger"}


def test_all_are_written() -> None:
    """Every format that is named goes out."""
    carrier: dict[str, str] = {}
    default_propagator(BUILT_IN).inject(TraceContext(10, 11, SAMPLED, "a=1", baggage={"k": "v"}), carrier)
    trace, span = f"{10:032x}", f"{11:016x}"
    assert carrier == {
        "traceparent": f"00-{trace}-{span}-01",
        "tracestate": "a=1",
        "baggage": "k=v",
        "b3": f"{trace}-{span}-1",
        "x-b3-traceid": trace,
        "x-b3-spanid": span,
        "x-b3-sampled": "1",
        "uber-trace-id": f"{trace}:{span}:0:01",
        "uberctx-k": "v",
    }


def test_no_format_reads_and_writes_nothing() -> None:
    """An empty list of formats is a propagator that does nothing."""
    carrier: dict[str, str] = {}
    propagator = default_propagator([])
    propagator.inject(TraceContext(1, 2), carrier)
    assert carrier == {}
    assert propagator.extract_from(W3C) is None


def test_unknown_name() -> None:
    """A name that is not built in is an error that names those that are."""
    with pytest.raises(ValueError, match=r"'b4'.*tracecontext, baggage, b3, b3multi, jaeger"):
        default_propagator(["tracecontext", "b4"])


class _Homemade(Propagator):
    """A third party's format that does not say which headers it reads."""

    def extract(self, headers: Headers, context: TraceContext | None) -> TraceContext | None:
        values = headers.get("x-trace", ())
        return TraceContext(int(values[0]), 1, is_remote=True) if values and context is None else context

    def inject(self, context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        carrier["x-trace"] = str(context._trace_id)


@pytest.mark.parametrize("carrier", [{"x-trace": "7"}, {"X-Trace": "7"}, [(b"X-TRACE", b"7")]])
def test_a_format_without_fields_sees_every_header(carrier: dict[str, str]) -> None:
    """Alone and among others, a format that names no fields is given all headers, whatever the carrier."""
    for propagator in (_Homemade(), CompositePropagator([built_in_propagator("tracecontext"), _Homemade()])):
        found = propagator.extract_from(carrier)
        assert found is not None
        assert found._trace_id == 7


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_formats_are_plugins(name: str) -> None:
    """Every built-in format comes through the entry-point group that third parties use, and makes itself."""
    (entry,) = [entry for entry in installed("propagators") if entry.name == name]
    assert entry.value == f"kai_tracing_core.propagation.plugin:{name}"
    made = plugins.create_propagator(TracingSettings(), [name])
    assert type(made) is type(built_in_propagator(name))


@pytest.mark.parametrize(("names", "written"), [("b3multi", "x-b3-traceid"), ("jaeger,baggage", "uber-trace-id")])
def test_formats_are_chosen_by_setting(monkeypatch: pytest.MonkeyPatch, names: str, written: str) -> None:
    """`TRACING_PROPAGATORS` chooses the formats of any provider."""
    monkeypatch.setenv("TRACING_PROPAGATORS", names)
    tracing = initialize_tracing(service=TracingService(auto=False), type="inmemory")
    headers: dict[str, str] = {}
    with tracing.span("call") as span:
        tracing.inject_context(span.trace_context, headers)
    tracing.shutdown()
    assert written in headers
    assert "traceparent" not in headers
