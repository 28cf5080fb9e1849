"""`traceparent`: what the cases of the W3C suite leave open."""

from __future__ import annotations

import pytest

from kai_tracing_core.propagation.base import Propagator
from kai_tracing_core.propagation.w3c import TraceContextPropagator
from kai_tracing_core.trace_context import DEBUG, RANDOM, SAMPLED, TraceContext

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def propagator() -> Propagator:
    """The format."""
    return TraceContextPropagator()


def extract(value: str, **others: str) -> TraceContext | None:
    """The context of one `traceparent`, read by both ways there are, which must agree."""
    carrier = {"traceparent": value, **others}
    quick = TraceContextPropagator().extract_from(carrier)
    assert quick == TraceContextPropagator().extract_from(list(carrier.items()))
    return quick


def test_extracts_a_remote_context() -> None:
    """Ids, flags and `tracestate` are what the headers say, and the context is remote."""
    context = extract(VALID, tracestate="congo=t61rcWkgMzE")
    assert context == TraceContext(TRACE, SPAN, SAMPLED, "congo=t61rcWkgMzE", is_remote=True)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("00", 0), ("01", SAMPLED), ("02", RANDOM), ("03", SAMPLED | RANDOM), ("ff", SAMPLED | RANDOM), ("fc", 0)],
)
def test_flags_are_bits(propagator: Propagator, flags: str, expected: int) -> None:
    """Unknown bits are neither an error nor sent on (section 3.2.2.5.3)."""
    context = extract(f"00-{TRACE}-{SPAN}-{flags}")
    assert context is not None
    assert context.trace_flags == expected
    carrier: dict[str, str] = {}
    propagator.inject(context, carrier)
    assert carrier == {"traceparent": f"00-{TRACE}-{SPAN}-{expected:02x}"}


@pytest.mark.parametrize("version", ["01", "0a", "cc", "fe"])
@pytest.mark.parametrize("rest", ["", "-", "-what-comes-next", " "])
def test_future_versions_become_00(propagator: Propagator, version: str, rest: str) -> None:
    """A higher version is read like 00, ends or goes on with a dash, and is sent on as 00 (section 3.2.4)."""
    context = extract(f"{version}-{TRACE}-{SPAN}-01{rest}")
    assert context is not None
    carrier: dict[str, str] = {}
    propagator.inject(context, carrier)
    assert carrier["traceparent"] == VALID


@pytest.mark.parametrize(
    "value",
    [
        "",
        VALID.upper(),
        VALID[:-1],
        VALID + "0",
        VALID + "-",
        VALID + "\n",
        "ff" + VALID[2:],
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"01-{TRACE}-{SPAN}-01x",
        f"01-{TRACE}-{SPAN}-1",
        VALID.replace("-", "_"),
        "00-" + "٠" * 32 + f"-{SPAN}-01",  # noqa: RUF001 - digits, but not hexadecimal ones
        f"00-0x{TRACE[2:]}-{SPAN}-01",
        f"00-+{TRACE[1:]}-{SPAN}-01",
        f"{VALID},{VALID}",
    ],
)
def test_malformed_is_absent(value: str) -> None:
    """What is not a `traceparent` to the letter is none, and leaves `tracestate` unread."""
    assert extract(value, tracestate="congo=1") is None


def test_malformed_state_leaves_the_parent() -> None:
    """A bad `tracestate` never costs the `traceparent` (section 3.3)."""
    assert extract(VALID, tracestate="not valid") == TraceContext(TRACE, SPAN, SAMPLED, is_remote=True)


def test_injects_nothing_without_ids(propagator: Propagator) -> None:
    """A context that is not valid writes nothing, not even `tracestate`."""
    carrier: dict[str, str] = {}
    for context in (TraceContext(), TraceContext(TRACE, 0, trace_state="a=1"), TraceContext(0, SPAN)):
        propagator.inject(context, carrier)
    assert carrier == {}


def test_internal_flags_stay_inside(propagator: Propagator) -> None:
    """Only the two bits that W3C defines go out."""
    carrier: dict[str, str] = {}
    propagator.inject(TraceContext(TRACE, SPAN, SAMPLED | DEBUG, "a=1"), carrier)
    assert carrier == {"traceparent": VALID, "tracestate": "a=1"}
