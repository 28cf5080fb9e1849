"""W3C Baggage: reading, writing, limits, properties, and who may see it."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_tracing_core import TraceContext, TracingService
from kai_tracing_core.processing.baggage import BaggageProcessor
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.propagation.baggage import BaggageHosts, BaggageValue, format_baggage, parse_baggage
from tests.propagation.conftest import KeepingProvider

_TOKENS = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=10)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("SomeKey=SomeValue", {"SomeKey": "SomeValue"}),
        ("a=1,b=2", {"a": "1", "b": "2"}),
        ("a \t = \t 1 \t ,\t b = 2", {"a": "1", "b": "2"}),
        ("a=1=2==", {"a": "1=2=="}),
        ("a=", {"a": ""}),
        ("serverNode=DF%2028", {"serverNode": "DF 28"}),
        ("userId=Am%C3%A9lie", {"userId": "Amélie"}),
        ("a=%FF%C3", {"a": "\ufffd\ufffd"}),
        ("a=100%", {"a": "100%"}),
        ("a=1+1", {"a": "1+1"}),
        ("a=1,a=2", {"a": "2"}),
        ('a b=1,=2,novalue,c=x y,d="q",e=\\,é=1,f=é,g=7', {"g": "7"}),
        (",, ,", {}),
        ("", {}),
    ],
)
def test_parse(header: str, expected: dict[str, str]) -> None:
    """Values are percent-decoded, bad UTF-8 becomes U+FFFD, and a malformed member costs only itself."""
    assert parse_baggage([header]) == expected


def test_several_headers_are_one() -> None:
    """Several `baggage` headers are joined."""
    assert parse_baggage(["a=1", "b=2,c=3"]) == {"a": "1", "b": "2", "c": "3"}


def test_properties_are_kept() -> None:
    """Properties travel with their value, as they are encoded; malformed ones are left out."""
    baggage = parse_baggage(["a=1 ; ttl = 60;private;x=%20;bad prop;ttl=61;"])
    value = baggage["a"]
    assert value == "1"
    assert isinstance(value, BaggageValue)
    assert value.properties == "ttl=60;private;x=%20;ttl=61"
    assert format_baggage(baggage) == "a=1;ttl=60;private;x=%20;ttl=61"
    assert pickle.loads(pickle.dumps(value)).properties == value.properties


def test_encodes_what_a_header_cannot_hold() -> None:
    """Blanks, quotes, separators, the percent sign and all beyond ASCII are percent-encoded, `=` is not."""
    assert format_baggage({"k": ' ",;\\%é=/:\n'}) == "k=%20%22%2C%3B%5C%25%C3%A9=/:%0A"
    assert format_baggage({"k": "\ud800"}) == "k=?"


def test_a_key_that_is_no_token_is_not_sent() -> None:
    """An entry that the format cannot carry is left out, the others go."""
    assert format_baggage({"a b": "1", "": "2", "ü": "3", "a=": "4", "ok": "5"}) == "ok=5"


def test_64_members_pass_and_no_more() -> None:
    """All of 64 members go in and out; of more, the first 64."""
    entries = {f"k{number}": str(number) for number in range(70)}
    header = ",".join(f"{key}={value}" for key, value in entries.items())
    assert list(parse_baggage([header])) == list(entries)[:64]
    assert format_baggage(entries).count(",") == 63


def test_8192_bytes_pass_whole_members_only() -> None:
    """Exactly 8192 bytes go out; a member that does not fit is left out whole, a later one that fits is kept."""
    full = {"a": "x" * 4000, "b": "y" * 4187}
    assert len(format_baggage(full)) == 8192
    assert parse_baggage([format_baggage(full)]) == full
    assert format_baggage({**full, "c": ""}) == format_baggage(full)
    assert format_baggage({"a": "x" * 9000, "b": "1"}) == "b=1"
    assert parse_baggage(["a=" + "x" * 9000 + ",b=1"]) == {"b": "1"}


def test_blanks_do_not_count() -> None:
    """What fits without its blanks is kept however many there were."""
    assert parse_baggage(["a=1" + " " * 9000 + ",b=2"]) == {"a": "1", "b": "2"}


@given(st.dictionaries(_TOKENS, st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=60))
def test_round_trip(baggage: dict[str, str]) -> None:
    """Any text comes back as it was."""
    assert parse_baggage([format_baggage(baggage)]) == baggage


@given(st.lists(st.text(max_size=100), max_size=4))
def test_never_raises(headers: list[str]) -> None:
    """Whatever is in the headers, what is understood of them comes back from a header of ours."""
    baggage = parse_baggage(headers)
    assert parse_baggage([format_baggage(baggage)]) == baggage


# -- in the service ---------------------------------------------------------------------------------------------------


def test_read_set_remove(tracing: TracingService) -> None:
    """What the application puts into baggage goes out with injected contexts until it is removed."""
    with tracing.use_context(TraceContext(baggage={"from": "upstream"})):
        tracing.set_baggage("tenant", "t 1")
        assert tracing.get_baggage() == {"from": "upstream", "tenant": "t 1"}
        with tracing.span("work") as span:
            headers: dict[str, str] = {}
            tracing.inject_context(span.trace_context, headers)
            assert headers["baggage"] == "from=upstream,tenant=t%201"
        tracing.remove_baggage("tenant")
        assert tracing.get_baggage() == {"from": "upstream"}
    assert tracing.get_baggage() == {}


def test_received_baggage_goes_on_with_its_properties(tracing: TracingService) -> None:
    """Baggage of a request is current under its span, and goes on to the next service with its properties."""
    parent = tracing.extract_context({"baggage": "user=alice;level=2"})
    assert parent is not None
    assert not parent.is_valid
    with tracing.span("serve", parent=parent) as span:
        assert tracing.get_baggage() == {"user": "alice"}
        headers: dict[str, str] = {}
        tracing.inject_context(span.trace_context, headers)
    assert headers["baggage"] == "user=alice;level=2"
    assert tracing.get_baggage() == {}


def test_baggage_passes_through_disabled_tracing() -> None:
    """Without a span the application's baggage still goes out."""
    tracing = TracingService(auto=False)
    tracing.set_baggage("tenant", "t1")
    try:
        with tracing.span("work") as span:
            headers: dict[str, str] = {}
            tracing.inject_context(span.trace_context, headers)
    finally:
        tracing.remove_baggage("tenant")
    assert headers == {"baggage": "tenant=t1"}


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (["tenant"], {"tenant": "t1", "given": "mine"}),
        (["shop.*"], {"shop.id": "7", "shop.kind": "x", "given": "mine"}),
        (["given"], {"given": "mine"}),
        (["*"], {"tenant": "t1", "shop.id": "7", "shop.kind": "x", "given": "mine"}),
        ([], {"given": "mine"}),
    ],
)
def test_listed_keys_become_attributes(allowed: list[str], expected: dict[str, str]) -> None:
    """Only listed baggage becomes attributes, under its own key, and never instead of the application's own."""
    config = PipelineConfig(processors=[BaggageProcessor(allowed)])
    tracing = TracingService(KeepingProvider(config))
    parent = tracing.extract_context({"baggage": "tenant=t1,shop.id=7;p=1,shop.kind=x,given=theirs"})
    given = {"given": "mine"}
    with (
        tracing.span("serve", parent=parent, attributes=given) as span,
        tracing.span("inside", attributes=given) as inside,
    ):
        pass
    assert span.attributes == inside.attributes == expected
    tracing.shutdown()


# -- hosts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "host", "expected"),
    [
        (None, "anywhere.example", True),
        (None, None, True),
        ([], "localhost", False),
        (["api.internal"], "API.internal:8080", True),
        (["api.internal"], "api.internal.", True),
        (["api.internal"], "xapi.internal", False),
        (["api.internal"], "api.internal.evil.example", False),
        (["*.internal"], "a.b.internal", True),
        (["*.internal"], "internal", False),
        (["*.internal"], "evilinternal", False),
        (["10.0.*"], "10.0.3.4:80", True),
        (["::1"], "[::1]:8080", True),
        (["::1"], "::1", True),
        (["*"], "anywhere.example", True),
        (["*"], "", False),
        (["*"], None, False),
    ],
)
def test_allowed_hosts(patterns: list[str] | None, host: str | None, expected: bool) -> None:
    """A pattern covers the whole name; ports, brackets, case and the root's dot do not matter."""
    assert BaggageHosts(patterns).baggage_allowed(host) is expected


def test_baggage_goes_to_allowed_hosts_only(tracing: TracingService) -> None:
    """A host that is not allowed gets the trace context without the baggage, in every format."""
    tracing.baggage_hosts = BaggageHosts(["*.internal"])
    context = TraceContext(1, 2, 1, "a=1", baggage={"user": "alice"})
    inside: dict[str, str] = {}
    tracing.inject_for_host(context, inside, "db.internal")
    assert inside["baggage"] == "user=alice"
    assert inside["uberctx-user"] == "alice"
    outside: dict[str, str] = {}
    tracing.inject_for_host(context, outside, "example.com")
    assert outside["traceparent"] == inside["traceparent"]
    assert outside["tracestate"] == "a=1"
    assert not [name for name, value in outside.items() if "alice" in value]
