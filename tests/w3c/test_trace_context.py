"""The cases of the W3C Trace Context test suite (w3c/trace-context, test/test.py) at its strictest level, level 2.

Re-expressed for a service of ours; every test has the name of the suite's case, and there are all 41 of them.
"""

from __future__ import annotations

from string import ascii_lowercase, digits

import pytest

from tests.w3c.conftest import Harness

TRACE = "12345678901234567890123456789012"
PARENT = "1234567890123456"
VALID = f"00-{TRACE}-{PARENT}-01"


# -- TraceContextTest: traceparent ------------------------------------------------------------------------------------


def test_both_traceparent_and_tracestate_missing(harness: Harness) -> None:
    """TraceContextTest: without both headers a valid `traceparent` goes out."""
    assert harness.send()[0].state == ""


def test_traceparent_included_tracestate_missing(harness: Harness) -> None:
    """TraceContextTest: the trace goes on, under another parent id."""
    sent = harness.send(("traceparent", VALID))[0]
    assert sent.trace_id == TRACE
    assert sent.parent_id != PARENT


def test_traceparent_duplicated(harness: Harness) -> None:
    """TraceContextTest: of two `traceparent` headers neither counts."""
    other = "12345678901234567890123456789011"
    sent = harness.send(("traceparent", f"00-{other}-{PARENT}-01"), ("traceparent", VALID))[0]
    assert sent.trace_id not in {TRACE, other}


@pytest.mark.parametrize("name", ["trace-parent", "trace.parent"])
def test_traceparent_header_name(harness: Harness, name: str) -> None:
    """TraceContextTest: a header of another name is not `traceparent`."""
    assert harness.send((name, VALID))[0].trace_id != TRACE


@pytest.mark.parametrize("name", ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"])
def test_traceparent_header_name_valid_casing(harness: Harness, name: str) -> None:
    """TraceContextTest: the name is the same in any case."""
    assert harness.send((name, VALID))[0].trace_id == TRACE


@pytest.mark.parametrize("rest", [".", "-what-the-future-will-be-like"])
def test_traceparent_version_0x00(harness: Harness, rest: str) -> None:
    """TraceContextTest: version 00 has nothing behind the flags."""
    assert harness.trace_id(VALID + rest) != TRACE


@pytest.mark.parametrize(
    ("rest", "continued"),
    [("", True), ("-what-the-future-will-be-like", True), (".what-the-future-will-be-like", False)],
)
def test_traceparent_version_0xcc(harness: Harness, rest: str, continued: bool) -> None:
    """TraceContextTest: a future version is read as far as it is known, if what follows is set off by a dash."""
    assert (harness.trace_id(f"cc-{TRACE}-{PARENT}-01{rest}") == TRACE) is continued


def test_traceparent_version_0xff(harness: Harness) -> None:
    """TraceContextTest: version ff is forbidden."""
    assert harness.trace_id(f"ff-{TRACE}-{PARENT}-01") != TRACE


@pytest.mark.parametrize("version", [".0", "0."])
def test_traceparent_version_illegal_characters(harness: Harness, version: str) -> None:
    """TraceContextTest: the version is hexadecimal."""
    assert harness.trace_id(f"{version}-{TRACE}-{PARENT}-01") != TRACE


@pytest.mark.parametrize("version", ["000", "0000"])
def test_traceparent_version_too_long(harness: Harness, version: str) -> None:
    """TraceContextTest: the version has two digits, not more."""
    assert harness.trace_id(f"{version}-{TRACE}-{PARENT}-01") != TRACE


def test_traceparent_version_too_short(harness: Harness) -> None:
    """TraceContextTest: the version has two digits, not one."""
    assert harness.trace_id(f"0-{TRACE}-{PARENT}-01") != TRACE


def test_traceparent_trace_id_all_zero(harness: Harness) -> None:
    """TraceContextTest: a trace id of zeros is none."""
    assert harness.trace_id(f"00-{'0' * 32}-{PARENT}-01") != "0" * 32


@pytest.mark.parametrize("trace_id", [f".{TRACE[1:]}", f"{TRACE[:-1]}."])
def test_traceparent_trace_id_illegal_characters(harness: Harness, trace_id: str) -> None:
    """TraceContextTest: the trace id is hexadecimal."""
    assert harness.trace_id(f"00-{trace_id}-{PARENT}-01") != trace_id


def test_traceparent_trace_id_too_long(harness: Harness) -> None:
    """TraceContextTest: of 33 digits no 32 are a trace id."""
    assert harness.trace_id(f"00-{TRACE}3-{PARENT}-01") not in {TRACE, f"{TRACE[1:]}3"}


def test_traceparent_trace_id_too_short(harness: Harness) -> None:
    """TraceContextTest: 31 digits are no trace id."""
    assert harness.trace_id(f"00-{TRACE[:-1]}-{PARENT}-01").lstrip("0") != TRACE[:-1]


def test_traceparent_parent_id_all_zero(harness: Harness) -> None:
    """TraceContextTest: a parent id of zeros is none."""
    assert harness.trace_id(f"00-{TRACE}-{'0' * 16}-01") != TRACE


@pytest.mark.parametrize("parent_id", [f".{PARENT[1:]}", f"{PARENT[:-1]}."])
def test_traceparent_parent_id_illegal_characters(harness: Harness, parent_id: str) -> None:
    """TraceContextTest: the parent id is hexadecimal."""
    assert harness.trace_id(f"00-{TRACE}-{parent_id}-01") != TRACE


def test_traceparent_parent_id_too_long(harness: Harness) -> None:
    """TraceContextTest: 17 digits are no parent id."""
    assert harness.trace_id(f"00-{TRACE}-{PARENT}7-01") != TRACE


def test_traceparent_parent_id_too_short(harness: Harness) -> None:
    """TraceContextTest: 15 digits are no parent id."""
    assert harness.trace_id(f"00-{TRACE}-{PARENT[:-1]}-01") != TRACE


@pytest.mark.parametrize("flags", [".0", "0."])
def test_traceparent_trace_flags_illegal_characters(harness: Harness, flags: str) -> None:
    """TraceContextTest: the flags are hexadecimal."""
    assert harness.trace_id(f"00-{TRACE}-{PARENT}-{flags}") != TRACE


def test_traceparent_trace_flags_too_long(harness: Harness) -> None:
    """TraceContextTest: three digits are no flags."""
    assert harness.trace_id(f"00-{TRACE}-{PARENT}-001") != TRACE


def test_traceparent_trace_flags_too_short(harness: Harness) -> None:
    """TraceContextTest: one digit is no flags."""
    assert harness.trace_id(f"00-{TRACE}-{PARENT}-1") != TRACE


@pytest.mark.parametrize("value", [f" {VALID}", f"\t{VALID}", f"{VALID} ", f"{VALID}\t", f"\t {VALID} \t"])
def test_traceparent_ows_handling(harness: Harness, value: str) -> None:
    """TraceContextTest: blanks around the value do not belong to it."""
    assert harness.trace_id(value) == TRACE


# -- TraceContextTest: tracestate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["foo=1", "foo=1,bar=2"])
def test_tracestate_included_traceparent_missing(harness: Harness, state: str) -> None:
    """TraceContextTest: `tracestate` alone is thrown away."""
    assert harness.send(("tracestate", state))[0].state == ""


def test_tracestate_included_traceparent_included(harness: Harness) -> None:
    """TraceContextTest: both go on."""
    assert harness.members("foo=1,bar=2") == {"foo": "1", "bar": "2"}


@pytest.mark.parametrize("name", ["trace-state", "trace.state"])
def test_tracestate_header_name(harness: Harness, name: str) -> None:
    """TraceContextTest: a header of another name is not `tracestate`."""
    assert harness.send(("traceparent", VALID), (name, "foo=1"))[0].members == {}


@pytest.mark.parametrize("name", ["TraceState", "TrAcEsTaTe", "TRACESTATE"])
def test_tracestate_header_name_valid_casing(harness: Harness, name: str) -> None:
    """TraceContextTest: the name is the same in any case."""
    assert harness.send(("traceparent", VALID), (name, "foo=1"))[0].members == {"foo": "1"}


@pytest.mark.parametrize(
    ("states", "members"), [([""], {}), (["foo=1", ""], {"foo": "1"}), (["", "foo=1"], {"foo": "1"})]
)
def test_tracestate_empty_header(harness: Harness, states: list[str], members: dict[str, str]) -> None:
    """TraceContextTest: an empty header is left out, and harms no other."""
    assert harness.members(*states) == members


def test_tracestate_multiple_headers_different_keys(harness: Harness) -> None:
    """TraceContextTest: several headers are one list, in their order."""
    members = harness.members("foo=1,bar=2", "rojo=1,congo=2", "baz=3")
    assert list(members.items()) == [("foo", "1"), ("bar", "2"), ("rojo", "1"), ("congo", "2"), ("baz", "3")]


@pytest.mark.parametrize("states", [["foo=1,foo=1"], ["foo=1,foo=2"], ["foo=1", "foo=1"], ["foo=1", "foo=2"]])
def test_tracestate_duplicated_keys(harness: Harness, states: list[str]) -> None:
    """TraceContextTest: of a repeated key one member goes on."""
    assert harness.members(*states) == {"foo": "1"}


@pytest.mark.parametrize("vendor", ["", "@a-z0-9_-*/"])
def test_tracestate_all_allowed_characters(harness: Harness, vendor: str) -> None:
    """TraceContextTest: every character that a key or a value may have goes on."""
    key = f"{ascii_lowercase}{digits}_-*/{vendor}"
    value = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")
    assert harness.members(f"{key}={value}") == {key: value}


@pytest.mark.parametrize(
    ("state", "members"),
    [
        ("foo=1 \t , \t bar=2, \t baz=3", {"foo": "1", "bar": "2", "baz": "3"}),
        ("foo=1\t \t,\t \tbar=2,\t \tbaz=3", {"foo": "1", "bar": "2", "baz": "3"}),
        *[(blank, {"foo": "1"}) for blank in (" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t", "\t foo=1 \t")],
    ],
)
def test_tracestate_ows_handling(harness: Harness, state: str, members: dict[str, str]) -> None:
    """TraceContextTest: blanks around members do not belong to them."""
    assert harness.members(state) == members


@pytest.mark.parametrize("state", ["foo =1", "FOO=1", "foo.bar=1"])
def test_tracestate_key_illegal_characters(harness: Harness, state: str) -> None:
    """TraceContextTest, strict: a key that is none makes the list invalid."""
    assert harness.members(state) == {}


@pytest.mark.parametrize(("key", "valid"), [("foo@", True), ("@foo", False), ("foo@@bar", True), ("foo@bar@baz", True)])
def test_tracestate_key_illegal_vendor_format(harness: Harness, key: str, valid: bool) -> None:
    """TraceContextTest, strict: an at sign may stand anywhere in a key but first (level 2)."""
    assert harness.members(f"{key}=1,bar=2") == ({key: "1", "bar": "2"} if valid else {})


@pytest.mark.parametrize(("count", "kept"), [(32, 32), (33, 0)])
def test_tracestate_member_count_limit(harness: Harness, count: int, kept: int) -> None:
    """TraceContextTest, strict: 32 members in several headers go on, 33 are invalid."""
    members = [f"bar{number:02}={number:02}" for number in range(1, count + 1)]
    headers = [",".join(members[start : start + 10]) for start in range(0, count, 10)]
    assert len(harness.members(*headers)) == kept


@pytest.mark.parametrize(
    ("key", "valid"),
    [
        ("z" * 256, True),
        ("z" * 257, False),
        ("t" * 241 + "@" + "v" * 14, True),
        ("t" * 242 + "@v", True),
        ("t@" + "v" * 15, True),
    ],
)
def test_tracestate_key_length_limit(harness: Harness, key: str, valid: bool) -> None:
    """TraceContextTest, strict: a key has 256 characters at most, at signs or not."""
    assert harness.members("foo=1", f"{key}=1") == ({"foo": "1", key: "1"} if valid else {})


@pytest.mark.parametrize("state", ["foo=bar=baz", "foo=,bar=3"])
def test_tracestate_value_illegal_characters(harness: Harness, state: str) -> None:
    """TraceContextTest, strict: a value that is none makes the list invalid."""
    assert harness.members(state) == {}


# -- AdvancedTest -----------------------------------------------------------------------------------------------------


def test_multiple_requests_with_valid_traceparent(harness: Harness) -> None:
    """AdvancedTest: three calls for one request are in its trace, each with a parent id of its own."""
    sent = harness.send(("traceparent", VALID), calls=3)
    assert {call.trace_id for call in sent} == {TRACE}
    assert len({call.parent_id for call in sent}) == 3


def test_multiple_requests_without_traceparent(harness: Harness) -> None:
    """AdvancedTest: three calls have three parent ids, in one new trace."""
    sent = harness.send(calls=3)
    assert len({call.parent_id for call in sent}) == 3
    assert len({call.trace_id for call in sent}) == 1


def test_multiple_requests_with_illegal_traceparent(harness: Harness) -> None:
    """AdvancedTest: a `traceparent` that is none starts a new trace for all three calls."""
    sent = harness.send(("traceparent", f"00-{'0' * 32}-{PARENT}-01"), calls=3)
    assert "0" * 32 not in {call.trace_id for call in sent}
    assert len({call.parent_id for call in sent}) == 3


# -- TraceContext2Test ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0x02, 0x03, 0x00, 0x01])
def test_propagates_random_flag(harness: Harness, flags: int) -> None:
    """TraceContext2Test: the random flag goes on as it came, set or not, whatever the sampled flag says."""
    sent = harness.send(("traceparent", f"00-{TRACE}-{PARENT}-{flags:02x}"))[0]
    assert sent.trace_id == TRACE
    assert sent.parent_id != PARENT
    assert sent.flags == flags
