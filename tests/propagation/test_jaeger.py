"""Jaeger's `uber-trace-id`, its baggage and its debug id."""

from __future__ import annotations

import pytest
from jaeger_client.codecs import TextCodec
from jaeger_client.constants import DEBUG_FLAG, SAMPLED_FLAG
from jaeger_client.span_context import SpanContext

from kai_tracing_core import TraceContext, TracingService
from kai_tracing_core.propagation.baggage import BaggageValue
from kai_tracing_core.propagation.jaeger import JaegerPropagator
from kai_tracing_core.trace_context import DEBUG, DECISION_ONLY, SAMPLED

TRACE, SPAN = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"
IDS = f"{TRACE}:{SPAN}:0:1"


def remote(flags: int, trace_id: int | str = TRACE, span_id: int | str = SPAN, **baggage: str) -> TraceContext:
    """What is expected of headers with ids."""
    return TraceContext(trace_id, span_id, flags, is_remote=True, baggage=baggage)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (IDS, remote(SAMPLED)),
        (f"{TRACE}:{SPAN}:0:0", remote(0)),
        (f"{TRACE}:{SPAN}:0:01", remote(SAMPLED)),
        (f"{TRACE}:{SPAN}:05e3ac9a4f6e3b90:1", remote(SAMPLED)),
        (f"{TRACE}:{SPAN}::1", remote(SAMPLED)),
        (f"{TRACE}:{SPAN}:0:3", remote(SAMPLED | DEBUG)),
        (f"{TRACE}:{SPAN}:0:2", remote(SAMPLED | DEBUG)),
        (f"{TRACE}:{SPAN}:0:8", remote(0)),
        (f"{TRACE}:{SPAN}:0:9", remote(SAMPLED)),
        ("abc:1:0:1", remote(SAMPLED, 0xABC, 1)),
        (IDS.replace(":", "%3A"), remote(SAMPLED)),
        (IDS.replace(":", "%3a"), remote(SAMPLED)),
        (f" {IDS} ", remote(SAMPLED)),
        ("", None),
        (TRACE, None),
        (f"{TRACE}:{SPAN}:0", None),
        (f"{IDS}:1", None),
        (f"{TRACE}1:{SPAN}:0:1", None),
        (f"{TRACE}:{SPAN}1:0:1", None),
        (f"0:{SPAN}:0:1", None),
        (f"{TRACE}:0:0:1", None),
        (f"{TRACE}:{SPAN}:0:", None),
        (f"{TRACE}:{SPAN}:0:100", None),
        (f"{TRACE}:{SPAN}:x:1", None),
        (f"-1:{SPAN}:0:1", None),
    ],
)
def test_extract(value: str, expected: TraceContext | None) -> None:
    """Ids of any length up to their own, percent-encoded or not; zeros and anything else are absent."""
    assert JaegerPropagator().extract_from({"uber-trace-id": value}) == expected
    assert JaegerPropagator().extract_from([(b"Uber-Trace-Id", value.encode())]) == expected


def test_several_are_none() -> None:
    """Of two `uber-trace-id` headers nobody can say which is the parent."""
    assert JaegerPropagator().extract_from([("uber-trace-id", IDS), ("uber-trace-id", "1:2:0:1")]) is None


def test_baggage() -> None:
    """`uberctx-*` and `jaeger-baggage` are decoded, keys in lowercase, with ids and without."""
    headers = {"Uberctx-User": "al%20ice", "uberctx-": "nothing", "jaeger-baggage": "a=1, b=2=3,rubbish"}
    expected = {"user": "al ice", "a": "1", "b": "2=3"}
    propagator = JaegerPropagator()
    assert propagator.extract_from({**headers, "uber-trace-id": IDS}) == remote(SAMPLED, **expected)
    assert propagator.extract_from(headers) == TraceContext(is_remote=True, baggage=expected)


def test_baggage_is_bounded() -> None:
    """No more than 64 entries come in or go out."""
    context = JaegerPropagator().extract_from({f"uberctx-k{number}": "v" for number in range(100)})
    assert context is not None
    assert context.baggage is not None
    assert len(context.baggage) == 64
    carrier: dict[str, str] = {}
    JaegerPropagator().inject(TraceContext(baggage={f"k{number}": "v" for number in range(100)}), carrier)
    assert len(carrier) == 64


def test_inject() -> None:
    """The parent is sent as 0, baggage percent-encoded, and keys that no header can have stay here."""
    baggage = {"user": "al ice:é", "not a name": "x", "p": BaggageValue("1", "ttl=2")}
    carrier: dict[str, str] = {}
    JaegerPropagator().inject(TraceContext(TRACE, SPAN, SAMPLED | DEBUG, baggage=baggage), carrier)
    assert carrier == {
        "uber-trace-id": f"{TRACE}:{SPAN}:0:03",
        "uberctx-user": "al%20ice:%C3%A9",
        "uberctx-p": "1",
    }


def test_debug_id_starts_a_trace_that_is_kept(tracing: TracingService) -> None:
    """`jaeger-debug-id` without ids starts a debug trace, its value in the baggage to be searched by."""
    parent = tracing.extract_context({"jaeger-debug-id": "ticket%2042"})
    assert parent == TraceContext(
        flags=DECISION_ONLY | SAMPLED | DEBUG, is_remote=True, baggage={"jaeger-debug-id": "ticket 42"}
    )
    with tracing.span("serve", parent=parent) as span:
        assert span.is_recording()
        headers: dict[str, str] = {}
        tracing.inject_context(span.trace_context, headers)
    assert headers["uber-trace-id"] == f"{span.trace_id}:{span.span_id}:0:03"


def test_debug_id_beside_ids_is_nothing() -> None:
    """Where there are ids, the trace exists already and its decision was taken."""
    assert JaegerPropagator().extract_from({"uber-trace-id": IDS, "jaeger-debug-id": "x"}) == remote(SAMPLED)


def test_jaeger_client_understands_us_and_we_understand_it() -> None:
    """The original client's codec reads what we write and writes what we read."""
    codec = TextCodec(url_encoding=True)
    carrier: dict[str, str] = {}
    JaegerPropagator().inject(TraceContext(TRACE, SPAN, SAMPLED | DEBUG, baggage={"k": "a b"}), carrier)
    theirs = codec.extract(carrier)
    assert (theirs.trace_id, theirs.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert theirs.flags == SAMPLED_FLAG | DEBUG_FLAG
    assert theirs.baggage == {"k": "a b"}
    carrier = {}
    codec.inject(SpanContext(trace_id=0xABC, span_id=0xD, parent_id=7, flags=1, baggage={"k": "a b"}), carrier)
    assert JaegerPropagator().extract_from(carrier) == remote(SAMPLED, 0xABC, 0xD, k="a b")
