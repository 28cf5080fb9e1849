"""What a setting's type makes of a value, and what it says to one that will not do."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest

from kai_tracing_core import ConfigurationError, ProviderSettings
from kai_tracing_core.settings import BatchSettings, RetrySettings, SecretStr, http_url, setting
from kai_tracing_core.settings_conversion import convert
from kai_tracing_core.settings_model import Section, fields

if TYPE_CHECKING:
    from fractions import Fraction


class Colour(str, Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


def _upper(value: str) -> str:
    return value.upper()


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        ("x", Any, "x"),
        (5, Annotated[int | str, "a note"] | None, 5),
        ("TRUE", bool, True),
        ("off", bool, False),
        (1, bool, True),
        (" 7 ", int, 7),
        (7.0, int, 7),
        ("-1.5e1", float, -15.0),
        (2, float, 2.0),
        ("/tmp", Path, Path("/tmp")),
        ("blue", Colour, Colour.BLUE),
        (Colour.RED, Colour, Colour.RED),
        ("a", Literal["a", "b"], "a"),
        (None, int | None, None),
        ("5", int | None, 5),
        ("5", str | int, "5"),
        (5, str | int, 5),
        (True, str | bool | int, True),
        ({"a": 1}, str | dict[str, Any], {"a": 1}),
        ("a, b,", tuple[str, ...], ("a", "b")),
        ("1,2", list[int], [1, 2]),
        (["1"], set[int], {1}),
        ("a=1,b=%2C", dict[str, str], {"a": "1", "b": ","}),
        ({"a": "1"}, dict[str, int], {"a": 1}),
        ({"a": "1"}, dict, {"a": "1"}),
        ("a", Annotated[str, _upper], "A"),
        ("a", tuple[Annotated[str, _upper], ...], ("A",)),
        ("1.5", Decimal, Decimal("1.5")),
        ("127.0.0.1", IPv4Address, IPv4Address("127.0.0.1")),
        ("pw", SecretStr, SecretStr("pw")),
    ],
)
def test_good(value: object, annotation: Any, expected: object) -> None:
    """Text as environment variables have it, and values as a file or a keyword has them."""
    made = convert(value, annotation)
    assert (made, type(made)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        ("perhaps", bool, "a valid boolean"),
        (2, bool, "a valid boolean"),
        ("much", int, "a valid integer"),
        (1.5, int, "without a fraction"),
        (True, int, "a valid integer"),
        ("nan", float, "a finite number"),
        ([], float, "a valid number"),
        (1, str, "a valid string"),
        (1, Path, "a path"),
        (1, None, "none"),
        ("green", Colour, "'red' or 'blue'"),
        ([], Literal["a"], "should be 'a'"),
        ("x", int | bool, "a valid integer, or a valid boolean"),
        ("x", dict[str, str], "key=value"),
        (1, dict[str, str], "a table"),
        ({"a": "x"}, dict[str, int], "a valid integer, at 'a'"),
        (1, tuple[str, ...], "a list"),
        (["1", "x"], tuple[int, ...], "a valid integer, at item 2"),
        ("x", Decimal, "a Decimal"),
        ("::1", IPv4Address, "Expected 4 octets"),
        (1, SecretStr, "a valid string"),
    ],
)
def test_bad(value: object, annotation: Any, expected: str) -> None:
    """What the input should be."""
    with pytest.raises(ValueError, match=expected):
        convert(value, annotation)


@pytest.mark.parametrize("value", ["localhost:9411", "ftp://host/", "http://", "http:///path", "https//host"])
def test_bad_url(value: str) -> None:
    """A URL that nothing could be sent to is refused; None is none."""
    with pytest.raises(ValueError, match="should be a URL"):
        http_url(value)
    assert http_url(None) is None
    assert http_url("HTTPS://host") == "HTTPS://host"


class Shop(ProviderSettings):
    """A section."""

    section = "shop"

    names: dict[str, str] = setting(default={})
    port: int = setting(default=80, ge=1, lt=100, description="Its port.")
    code: str = setting(default="abc", min_length=2)
    ratio: float = setting(default=0.5, gt=0, le=1)


class LargeShop(Shop):
    """A section that extends another."""

    port: int = 8080
    size: int = setting()


def test_sections_made_in_code() -> None:
    """A section is made with keywords; those that it extends are among them; what is not there, is said."""
    shop = LargeShop(size=1)
    assert dict(shop) == {"names": {}, "port": 8080, "code": "abc", "ratio": 0.5, "size": 1}
    assert [name for name, _ in fields(LargeShop)] == ["names", "port", "code", "ratio", "size"]
    assert shop == copy.deepcopy(shop) == pickle.loads(pickle.dumps(shop))
    assert shop != LargeShop(size=2)
    with pytest.raises(ConfigurationError, match="size is missing"):
        LargeShop()
    with pytest.raises(ConfigurationError, match=r"prot is not a setting that there is\. Did you mean port\?"):
        Shop(prot=1)
    for name, value, expected in (
        ("port", 0, "greater than or equal to 1"),
        ("port", 100, "less than 100"),
        ("ratio", 0, "greater than 0"),
        ("ratio", 1.5, "less than or equal to 1"),
        ("code", "a", "a length of at least 2"),
    ):
        with pytest.raises(ConfigurationError, match=rf"Shop\.{name} = {value!r}: input should .*{expected}"):
            Shop(**{name: value})


def test_defaults_are_not_shared() -> None:
    """Changing the mapping of one section changes no other."""
    Shop().names["a"] = "b"
    assert Shop().names == {}


def test_nested_sections() -> None:
    """A section inside another may be given as what it is, or as a table."""
    retry = RetrySettings(initial=1)
    assert BatchSettings(retry=retry) == BatchSettings(retry={"initial": 1})
    with pytest.raises(ConfigurationError, match="initial"):
        BatchSettings(retry={"initial": 0})
    with pytest.raises(ConfigurationError, match="is more than max_queue"):
        BatchSettings(max_queue=1)


def test_a_type_that_is_not_there() -> None:
    """A type that only the type checker imports is an error that says so, once a value needs it."""

    class Hidden(Section):
        share: Fraction | None = None

    assert Hidden().share is None
    with pytest.raises(TypeError, match=r"Hidden\.share is unknown at run time.*TYPE_CHECKING"):
        Hidden(share=1)


def test_pydantic_is_pointed_out() -> None:
    """A field of pydantic's, as sections had them once, is an error that names what takes its place."""
    from pydantic import Field

    with pytest.raises(TypeError, match=r"port is described by pydantic: use `setting`"):
        type("Old", (Section,), {"__annotations__": {"port": "int"}, "port": Field(default=1)})


def test_a_secret_shows_nothing_and_compares_by_its_text() -> None:
    """Equal secrets are one key of a dictionary; neither text nor repr gives them away."""
    assert len({SecretStr("one"), SecretStr("one"), SecretStr("two")}) == 2
    assert f"{SecretStr('one')!r} {SecretStr('one')}" == "[REDACTED] [REDACTED]"
