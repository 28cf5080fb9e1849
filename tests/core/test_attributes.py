"""What may be an attribute value, and what becomes of everything else."""

from __future__ import annotations

import enum
import math
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_tracing_core.attributes import clean_attributes, clean_value


class Color(str, enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Endless:
    def __iter__(self) -> Any:
        raise AssertionError("nothing but sequences is iterated")

    def __str__(self) -> str:
        return "endless"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (bytearray(b"x"), "x"),
        (memoryview(b"x"), "x"),
        (2**63, str(2**63)),
        (-(2**63), -(2**63)),
        (Number.ONE, 1),
        (Text("sub"), "sub"),
        (PurePosixPath("/a"), "/a"),
        ((1, 2), [1, 2]),
        ({"only"}, ["only"]),
        (frozenset([1]), [1]),
        ([1, 2.5], [1.0, 2.5]),
        ([1, "a"], ["1", "a"]),
        ([True, 1], ["True", "1"]),
        (["a", None], ["a", ""]),
        ([1, None], ["1", "None"]),
        ([[1], 2], ["[1]", "2"]),
        ([2**70], [str(2**70)]),
        ([], []),
        ({"a": 1}, "{'a': 1}"),
        (Endless(), "endless"),
        ("\ud800", "?"),
        (None, None),
        (Unprintable(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_conversions(value: Any, expected: Any) -> None:
    """Each kind of value becomes the nearest one that can be exported, of a plain type."""
    converted = clean_value(value)
    assert converted == expected
    assert type(converted) is type(expected)


def test_enumerations() -> None:
    """A member of an enumeration of strings becomes its value."""
    assert clean_value(Color.RED) == "red"
    assert type(clean_value(Color.RED)) is str


def test_mixed_numbers_with_a_gap() -> None:
    """None among integers and floats becomes NaN, as a table would show it."""
    values: Any = clean_value([1, 2.5, None])
    assert values[:2] == [1.0, 2.5]
    assert math.isnan(values[2])


def test_length() -> None:
    """Text is cut to the limit, alone and inside sequences; other values are not."""
    assert clean_value("abcdef", 3) == "abc"
    assert clean_value(["abcdef", "b"], 3) == ["abc", "b"]
    assert clean_value(b"abcdef", 3) == "abc"
    assert clean_value(123456, 3) == 123456


def test_clean_attributes() -> None:
    """Keys that are no text or empty and values that cannot be one are dropped and counted; the order is kept."""
    mixed: dict[Any, Any] = {"b": 1, "": 2, 3: 3, "n": None, "a": "x", "k\ud800": "y"}
    cleaned, dropped = clean_attributes(mixed)
    assert list(cleaned.items()) == [("b", 1), ("a", "x"), ("k?", "y")]
    assert dropped == 3


def test_the_limit_counts_what_is_kept() -> None:
    """Past the limit everything is dropped; what cannot be exported takes no place."""
    cleaned, dropped = clean_attributes({"n": None, "a": 1, "b": 2, "c": 3}, 2)
    assert (cleaned, dropped) == ({"a": 1, "b": 2}, 2)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3) | st.sets(st.integers()),
    max_leaves=8,
)


@given(_ANYTHING)
def test_any_value_becomes_a_valid_one(value: Any) -> None:
    """Whatever it is: the outcome is None, a scalar that encodes, or a list of one type of scalars."""
    cleaned = clean_value(value)
    items = cleaned if isinstance(cleaned, list) else [cleaned]
    assert len({type(item) for item in items}) <= 1
    for item in items:
        assert item is None or type(item) in {str, bool, int, float}
        if type(item) is str:
            item.encode()
        if type(item) is int:
            assert -(2**63) <= item < 2**63
