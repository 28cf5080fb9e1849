"""OTLP's bytes, held against what opentelemetry-proto's messages say of the same spans."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_tracing_core.attributes import SpanLimits
from kai_tracing_core.processing import otlp_encoding
from kai_tracing_core.processing.otlp import read_request
from kai_tracing_core.processing.otlp_encoding import encode_request
from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.sampling.always import AlwaysOn
from kai_tracing_core.span import Event, Link, Span, SpanKind, SpanStatusCode
from kai_tracing_core.trace_context import PARENT_REMOTE, Shared, TraceContext
from tests.support.otlp_messages import request_of

TEXT = st.text(st.characters(exclude_categories=()), max_size=12)  # with lone surrogates
SCALARS = st.one_of(
    TEXT, st.booleans(), st.integers(), st.floats(allow_nan=False), st.sampled_from((0.0, -0.0, 1, 1.0))
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.tuples(SCALARS), st.none(), st.binary(max_size=4))
ATTRIBUTES = st.dictionaries(st.one_of(TEXT, st.sampled_from("abc")), VALUES, max_size=5)
TIMES = st.integers(1, (1 << 63) - 1)
COUNTS = st.integers(0, 3)
CONTEXTS = st.builds(
    TraceContext,
    st.integers(1, (1 << 128) - 1),
    st.integers(1, (1 << 64) - 1),
    st.integers(0, 3),
    st.sampled_from(("", "vendor=x", "ot=th:8", "é=1")),
    is_remote=st.booleans(),
)
LIMITS = st.builds(
    SpanLimits,
    attributes=st.integers(2, 6),
    event_attributes=st.integers(2, 6),
    link_attributes=st.integers(2, 6),
    value_length=st.none() | st.integers(1, 4),
)


class _Resource(dict[str, Any]):
    schema_url = "https://example.com/schema"


class _Scope:
    def __init__(self, name: str, version: str | None, schema_url: str | None, attributes: Any) -> None:
        self.name, self.version, self.schema_url, self.attributes = name, version, schema_url, attributes


SCOPES = st.one_of(
    st.none(),
    st.builds(_Scope, TEXT.map(lambda text: text.encode("utf-8", "replace").decode()), st.none(), st.none(), st.none()),
    st.builds(_Scope, st.just("lib"), st.just("1.0"), st.just("https://example.com/lib"), ATTRIBUTES),
)


def _pipeline(resource: dict[str, Any] | None = None, limits: SpanLimits | None = None) -> SpanPipeline:
    resource = {"service.name": "shop"} if resource is None else resource
    config = PipelineConfig(resource=resource, sampler=AlwaysOn(), limits=limits or SpanLimits())
    return SpanPipeline(config, SpanProcessor())


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    """Some spans of two processes, with all that a span can have."""
    pipelines = [_pipeline(draw(ATTRIBUTES), draw(LIMITS)), _pipeline(_Resource(a=1))]
    scopes = draw(st.lists(SCOPES, min_size=1, max_size=3))
    made = []
    for _ in range(draw(st.integers(0, 4))):
        span = draw(st.sampled_from(pipelines)).start(
            draw(TEXT),
            kind=draw(st.sampled_from(SpanKind)),
            parent=draw(st.one_of(st.just(TraceContext()), CONTEXTS)),
            links=[Link(context, draw(ATTRIBUTES)) for context in draw(st.lists(CONTEXTS, max_size=2))],
            start_time=draw(TIMES),
            scope=draw(st.sampled_from(scopes)),
        )
        span._attributes.update(draw(ATTRIBUTES))
        for name, at, attributes in draw(st.lists(st.builds(Event, TEXT, TIMES, ATTRIBUTES), max_size=2)):
            span.add_event(name, attributes, at)
        span.set_status(draw(st.sampled_from(SpanStatusCode)), draw(st.none() | TEXT))
        weight, flags = draw(st.sampled_from((None, 1.0, 2.5))), draw(st.sampled_from((0, PARENT_REMOTE)))
        span._shared = Shared(span._flags | flags, span._trace_state, weight, sink=span._sink)
        for what in range(3):
            if count := draw(COUNTS):
                span._drop(what, count)
        span.end(draw(TIMES))
        made.append(span)
    return made


@given(spans())
def test_the_bytes_are_those_of_the_messages(made: list[Span]) -> None:
    """Whatever a span has is encoded as opentelemetry-proto would: the same message, in as many bytes."""
    expected = request_of(made)
    encoded = encode_request(made)
    assert read_request(encoded) == expected
    assert len(encoded) == expected.ByteSize()
    assert encode_request(made) == encoded  # from memory


def _encoded_attributes(attributes: dict[str, Any]) -> list[Any]:
    with _pipeline().start("op", attributes=attributes) as span:
        pass
    message = read_request(encode_request([span])).resource_spans[0].scope_spans[0].spans[0]
    return [getattr(entry.value, entry.value.WhichOneof("value")) for entry in message.attributes]


def test_equal_values_of_other_types_keep_their_types() -> None:
    """1, 1.0 and True are equal, as 0.0 and -0.0 are: none is taken for what was encoded before it."""
    for value in (1, 1.0, True, 0.0, -0.0, "1"):
        (encoded,) = _encoded_attributes({"key": value})
        assert (type(encoded), str(encoded)) == (type(value), str(value))


class _Hostile:
    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def __str__(self) -> str:
        return "hostile"


def test_values_without_a_hash() -> None:
    """What can be neither remembered nor compared is encoded as its text."""
    assert _encoded_attributes({"a": "x", "b": _Hostile()}) == ["x", "hostile"]


def test_what_is_remembered_is_bounded() -> None:
    """Values that never come again are forgotten again, and long ones are not kept at all."""
    memory = otlp_encoding._OF_SPAN
    with _pipeline().start("op") as span:
        pass
    for number in range(3 * otlp_encoding._REMEMBERED):
        span._attributes = {"user.id": f"user-{number}", "count": number, "sql": f"{number:500}"}
        encode_request([span])
        assert len(memory) <= otlp_encoding._REMEMBERED
    assert max(map(len, memory.values())) <= otlp_encoding._LONGEST


@pytest.mark.parametrize("count", [1, 1000])
def test_a_batch_of_any_size(count: int) -> None:
    """Spans keep their order over the slices that a batch is encoded in, and lengths of any size are right."""
    pipeline = _pipeline()
    made = []
    for number in range(count):
        with pipeline.start(f"op {number}", attributes={"text": "x" * number}) as span:
            pass
        made.append(span)
    assert read_request(encode_request(made)) == request_of(made)


def test_several_threads_encode_at_once() -> None:
    """What is remembered is shared by all exporters of a process: they do not disturb one another."""
    pipeline = _pipeline()
    made = []
    for number in range(2 * otlp_encoding._REMEMBERED):
        with pipeline.start("op", attributes={"number": number}) as span:
            pass
        made.append(span)
    expected = encode_request(made)
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(encode_request(made))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4
