"""The `tracestate` list: what is valid, what gives way, and how a member is changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_tracing_core.tracestate import MAX_LENGTH, MAX_MEMBERS, get_member, parse_tracestate, put_member

_KEYS = st.from_regex(r"\A[a-z0-9][a-z0-9_\-*/@]{0,40}\Z")
_VALUES = st.from_regex(r"\A[!-+\--<>-~ ]{0,90}[!-+\--<>-~]\Z")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([" , ,\t"], ""),
        (["a=1, b=2 ,,c=3"], "a=1,b=2,c=3"),
        (["a=1", "b=2"], "a=1,b=2"),
        (["a=1,a=2,b=3"], "a=1,b=3"),
        (["a= 1"], "a= 1"),
        (["a=1,b"], ""),
        (["a=\t1"], ""),
        (["a=\x7f"], ""),
        (["a=é"], ""),
        (["_a=1"], ""),
        (["a=" + "v" * 256], "a=" + "v" * 256),
        (["a=" + "v" * 257], ""),
    ],
)
def test_parse(headers: list[str], expected: str) -> None:
    """Lists are joined and tidied; one malformed member invalidates the whole list (section 4.1, step 3)."""
    assert parse_tracestate(headers) == expected


def test_long_members_give_way_first() -> None:
    """Beyond 512 characters members over 128 go first, from the right, then the others, from the right."""
    long = [f"long{number}={'x' * 150}" for number in range(2)]
    short = [f"short{number}={'y' * 90}" for number in range(6)]
    everything = ",".join([long[0], *short[:3], long[1], *short[3:]])
    assert parse_tracestate([everything]) == ",".join(short[:5])
    assert parse_tracestate([long[0], *short[:3], long[1]]) == ",".join([long[0], *short[:3]])


def test_512_characters_are_kept() -> None:
    """Exactly 512 characters go on, one more costs a member."""
    state = ",".join(f"k{number}={'v' * 50}" for number in range(8))
    padded = f"{state},z={'v' * (MAX_LENGTH - len(state) - 3)}"
    assert len(padded) == MAX_LENGTH
    assert parse_tracestate([padded]) == padded
    assert parse_tracestate([padded + "v"]) == state


@pytest.mark.parametrize(
    ("state", "key", "expected"),
    [
        ("", "ot", None),
        ("a=1", "ot", None),
        ("a=1,ot=th:8", "ot", "th:8"),
        ("bot=1", "ot", None),
        ("a=ot", "ot", None),
        ("a=1 , ot=2", "ot", "2"),
    ],
)
def test_get_member(state: str, key: str, expected: str | None) -> None:
    """A member is found by its whole key, and by nothing that looks like it."""
    assert get_member(state, key) == expected


@pytest.mark.parametrize(
    ("state", "value", "expected"),
    [
        ("", "th:8", "ot=th:8"),
        ("a=1,b=2", "th:8", "ot=th:8,a=1,b=2"),
        ("a=1,ot=th:4,b=2", "th:8", "ot=th:8,a=1,b=2"),
        ("a=1,ot=th:4,b=2", None, "a=1,b=2"),
        ("ot=th:4", None, ""),
        ("bot=1", None, "bot=1"),
    ],
)
def test_put_member(state: str, value: str | None, expected: str) -> None:
    """A changed member moves to the left, the others keep their order (section 3.5)."""
    assert put_member(state, "ot", value) == expected


def test_put_member_in_a_full_list() -> None:
    """Of 33 members the right-most gives way (section 3.3.1), never the one that was put."""
    full = ",".join(f"k{number}=1" for number in range(MAX_MEMBERS))
    changed = put_member(full, "ot", "th:8").split(",")
    assert changed == ["ot=th:8", *full.split(",")[:-1]]


@pytest.mark.parametrize(("key", "value"), [("OT", "1"), ("", "1"), ("ot", ""), ("ot", "a,b"), ("ot", "a=b")])
def test_put_member_refuses_what_no_header_can_have(key: str, value: str) -> None:
    """A key or value that would break the list is an error of the caller's."""
    with pytest.raises(ValueError, match="not a tracestate member"):
        put_member("a=1", key, value)


@given(st.lists(st.text(max_size=300), max_size=5))
def test_whatever_comes_in_what_goes_out_is_valid(headers: list[str]) -> None:
    """Parsing never raises, gives a list within the limits, and finds nothing to change in its own result."""
    state = parse_tracestate(headers)
    assert len(state) <= MAX_LENGTH
    assert state.count(",") < MAX_MEMBERS
    assert parse_tracestate([state]) == state


@given(st.dictionaries(_KEYS, _VALUES, max_size=40), _KEYS, _VALUES)
def test_put_keeps_the_limits(members: dict[str, str], key: str, value: str) -> None:
    """Whatever list a member is put into, it is there, left-most, and the list is valid."""
    state = put_member(",".join(f"{name}={text}" for name, text in members.items()), key, value)
    assert state.startswith(f"{key}={value}")
    assert get_member(state, key) == value
    assert parse_tracestate([state]) == state
