"""Carriers of every shape, names in every case, and rubbish."""

from __future__ import annotations

import email.message
import os
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_tracing_core import TraceContext
from kai_tracing_core.propagation.base import read_headers
from kai_tracing_core.propagation.composite import BUILT_IN, default_propagator
from kai_tracing_core.trace_context import DECISION_ONLY, SAMPLED

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EXPECTED = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", SAMPLED, "a=1,b=2", is_remote=True)
NAMES = ("tracecontext", "baggage")


class _Text(str):
    """A text of a framework's own making."""

    __slots__ = ()


class _Insensitive(Mapping[str, str]):
    """A mapping of a framework's own making."""

    def __init__(self, pairs: dict[str, str]) -> None:
        self._pairs = {name.title(): value for name, value in pairs.items()}

    def __getitem__(self, name: str) -> str:
        return self._pairs[name.title()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)


def _message() -> email.message.Message:
    message = email.message.Message()
    message["TraceParent"] = TRACEPARENT
    message["TraceState"] = "a=1"
    message["tracestate"] = "b=2"
    return message


@pytest.mark.parametrize(
    "carrier",
    [
        {"traceparent": TRACEPARENT, "tracestate": "a=1,b=2"},
        {"traceparent": TRACEPARENT, "TraceState": "a=1,b=2"},
        {"TRACEPARENT": TRACEPARENT, "tracestate": "a=1,b=2"},
        {"Traceparent": TRACEPARENT, "Tracestate": "a=1,b=2", "Accept": "*/*"},
        {"traceparent": [TRACEPARENT], "tracestate": ["a=1", "b=2"]},
        {"traceparent": (TRACEPARENT,), "tracestate": ("a=1", "b=2")},
        {"traceparent": _Text(TRACEPARENT), "tracestate": _Text("a=1,b=2")},
        {_Text("traceparent"): TRACEPARENT, "tracestate": _Text("a=1,b=2")},
        [("traceparent", _Text(TRACEPARENT)), (_Text("Tracestate"), _Text("a=1,b=2"))],
        {"traceparent": TRACEPARENT.encode(), "tracestate": b"a=1,b=2"},
        {b"traceparent": TRACEPARENT.encode(), b"Tracestate": b"a=1,b=2"},
        {"traceparent": TRACEPARENT, "tracestate": "a=1,b=2", 7: "x", None: None},
        {"traceparent": TRACEPARENT, "tracestate": "a=1,b=2", "x": object()},
        [("Traceparent", TRACEPARENT), ("tracestate", "a=1"), ("TraceState", "b=2")],
        [(b"traceparent", TRACEPARENT.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")],
        iter([("traceparent", TRACEPARENT), ("tracestate", "a=1,b=2")]),
        httpx.Headers([("traceparent", TRACEPARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]),
        _message(),
        _Insensitive({"traceparent": TRACEPARENT, "tracestate": "a=1,b=2"}),
    ],
    ids=lambda carrier: type(carrier).__name__,
)
def test_shapes(carrier: Any) -> None:
    """Whatever shape headers come in, and however their names are spelled, the context is the same."""
    assert default_propagator(NAMES).extract_from(carrier) == EXPECTED


@pytest.mark.parametrize(
    "carrier",
    [
        {"traceparent": [TRACEPARENT, TRACEPARENT]},
        {"traceparent": TRACEPARENT, "Traceparent": TRACEPARENT},
        [("traceparent", TRACEPARENT), ("TraceParent", TRACEPARENT)],
        {"traceparent": None},
        {"traceparent": 7, "tracestate": object()},
        {"traceparent": []},
        {},
        [],
        None,
        7,
        "traceparent",
        [("traceparent",)],
        [None, 1],
        [(["traceparent"], TRACEPARENT)],
    ],
)
def test_no_context(carrier: Any) -> None:
    """Several `traceparent`, values that are no text, and what is no carrier at all: no context, no exception."""
    assert default_propagator(NAMES).extract_from(carrier) is None


def test_only_what_is_asked_for_is_read() -> None:
    """Fields select headers by name or by the beginning of it; without fields all are read."""
    headers = [("A", "1"), ("x-b", "2"), ("X-C", b"3"), ("d", "4")]
    assert read_headers(headers, ("a", "x-*")) == {"a": ["1"], "x-b": ["2"], "x-c": ["3"]}
    assert read_headers(headers) == {"a": ["1"], "x-b": ["2"], "x-c": ["3"], "d": ["4"]}


def test_the_environment_is_a_carrier(monkeypatch: pytest.MonkeyPatch) -> None:
    """`os.environ` can be given as it is: W3C's names differ from variables only in their case."""
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    monkeypatch.setenv("TRACESTATE", "a=1,b=2")
    assert default_propagator(NAMES).extract_from(os.environ) == EXPECTED


# -- anything whatever ------------------------------------------------------------------------------------------------

_FIELDS = (
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "uberctx-k",
    "jaeger-debug-id",
    "jaeger-baggage",
)
_NEARLY = st.text("0123456789abcdefABCDEFd-:=;,% \t", max_size=80)
_NAMES = st.sampled_from(_FIELDS).flatmap(lambda name: st.sampled_from([name, name.upper(), name.title()]))
_HEADERS = st.lists(st.tuples(_NAMES, st.one_of(st.binary(max_size=80), st.text(max_size=80), _NEARLY)), max_size=8)


@given(_HEADERS)
def test_any_headers_are_survived(headers: list[tuple[str, Any]]) -> None:
    """Any bytes in any header: no exception, and what is found is a context that can be sent on."""
    propagator = default_propagator(BUILT_IN)
    for carrier in (headers, dict(headers), [(name.encode(), value) for name, value in headers]):
        found = propagator.extract_from(carrier)
        if found is not None:
            assert found.is_remote
            assert found.is_valid or found.baggage or found._flags & DECISION_ONLY
            sent: dict[str, str] = {}
            propagator.inject(found, sent)
            assert all(value.isascii() and value.isprintable() for value in sent.values())


@given(st.sampled_from(BUILT_IN), _HEADERS, st.booleans())
def test_dictionaries_and_pairs_agree(name: str, headers: list[tuple[str, Any]], lowercase: bool) -> None:
    """The quick way through a plain dictionary finds exactly what going through all headers finds."""
    carrier = {key.lower() if lowercase else key: value for key, value in headers}
    propagator = default_propagator([name])
    assert propagator.extract_from(carrier) == propagator.extract_from(list(carrier.items()))


@given(
    st.sampled_from([name for name in BUILT_IN if name != "baggage"]),
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
)
def test_round_trip(name: str, trace_id: int, span_id: int, sampled: bool) -> None:
    """In every format a context comes back as it was sent, but remote."""
    propagator = default_propagator([name])
    carrier: dict[str, str] = {}
    propagator.inject(TraceContext(trace_id, span_id, int(sampled)), carrier)
    assert propagator.extract_from(carrier) == TraceContext(trace_id, span_id, int(sampled), is_remote=True)
