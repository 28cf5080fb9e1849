"""From what a source has, often text, to a value of a setting's type.

Every function raises a `ValueError` that says what the input should be, without the input itself, which may be a
secret.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from kai_tracing_core.settings_sources import parse_key_values, parse_list

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SecretStr", "convert", "http_url", "kinds", "with_path"]


class SecretStr:
    """Text that nobody sees by accident: only `get_secret_value` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise ValueError("input should be a valid string")
        self._value = value

    def get_secret_value(self) -> str:
        """The text."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "[REDACTED]"


def http_url(value: str | None) -> str | None:
    """Check that a setting is the URL of something that speaks HTTP."""
    if value is not None and not value.lower().removeprefix("http").removeprefix("s").startswith("://"):
        raise ValueError("input should be a URL that begins with http:// or https://")
    if value is not None and not value.partition("://")[2].partition("/")[0]:
        raise ValueError("input should be a URL that names a host")
    return value


def with_path(url: str, path: str) -> str:
    """The URL; one that is the address of a server alone gets the path."""
    return url if "/" in url.partition("://")[2].rstrip("/") else url.rstrip("/") + path


def kinds(annotation: Any) -> set[type]:
    """The classes that an annotation names at its top: `{tuple, NoneType}` for `tuple[str, ...] | None`."""
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType}:
        return set[type]().union(*(kinds(part) for part in get_args(annotation)))
    if origin is Annotated:
        return kinds(get_args(annotation)[0])
    kind = origin or annotation
    return {kind} if isinstance(kind, type) else set()


def convert(value: Any, annotation: Any) -> Any:
    """The value as `annotation` wants it.

    Raises:
        ValueError: it cannot be that.
    """
    if annotation is Any:
        return value
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        made = convert(value, arguments[0])
        for check in filter(callable, arguments[1:]):
            made = check(made)
        return made
    if origin in {Union, types.UnionType}:
        return _union(value, arguments)
    if origin is Literal:
        return _one_of(value, {choice: choice for choice in arguments})
    kind = origin or annotation
    if kind in _SIMPLE:
        return _SIMPLE[kind](value)
    if issubclass(kind, Enum):
        return value if isinstance(value, kind) else _one_of(value, {member.value: member for member in kind})
    if issubclass(kind, Mapping):
        return _mapping(value, arguments)
    if issubclass(kind, (Sequence, AbstractSet)):
        return _items(value, kind, arguments)
    return value if isinstance(value, kind) else _made(value, kind)


def _made(value: Any, kind: type) -> Any:
    """An object of any other class, such as `Path`, `Decimal` or `IPv4Address`, made of the value."""
    if hasattr(kind, "__fspath__"):
        return _path(value)
    try:
        return kind(value)
    except (ArithmeticError, TypeError):
        raise ValueError(f"input should be a {kind.__name__}") from None


def _union(value: Any, members: tuple[Any, ...]) -> Any:
    """The first member that the value is already, or else the first that it can become."""
    if value is None and type(None) in members:
        return None
    rest = [member for member in members if member is not type(None)]
    errors = []
    # What is text remains so where it may: "1" for `str | int`.
    for member in sorted(rest, key=lambda member: type(value) not in kinds(member)):
        try:
            return convert(value, member)
        except ValueError as error:
            errors.append(str(error).removeprefix("input should be "))
    raise ValueError("input should be " + ", or ".join(dict.fromkeys(errors)))


def _one_of(value: Any, choices: Mapping[Any, Any]) -> Any:
    try:
        return choices[value]
    except (KeyError, TypeError):
        *names, last = map(repr, choices)
        raise ValueError(
            f"input should be {', '.join(names)} or {last}" if names else f"input should be {last}"
        ) from None


def _none(value: Any) -> None:
    if value is not None:
        raise ValueError("input should be none")


_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _bool(value: Any) -> bool:
    found = value if isinstance(value, bool) else _BOOLEANS.get(str(value).strip().lower())
    if found is None:
        raise ValueError("input should be a valid boolean, true or false")
    return found


def _int(value: Any) -> int:
    number = _number(value, int, "integer")
    if number != int(number):
        raise ValueError("input should be a valid integer, without a fraction")
    return int(number)


def _float(value: Any) -> float:
    return float(_number(value, float, "number"))


def _number(value: Any, kind: Callable[[str], float], name: str) -> float:
    if isinstance(value, str):
        try:
            value = kind(value)
        except ValueError:
            raise ValueError(f"input should be a valid {name}") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"input should be a valid {name}")
    if not math.isfinite(value):
        raise ValueError("input should be a finite number")
    return value


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("input should be a valid string")
    return value


def _path(value: Any) -> Path:
    from pathlib import Path  # which most starts have no use for

    if not isinstance(value, (str, Path)):
        raise ValueError("input should be a path")
    return Path(value)


_SIMPLE: Mapping[Any, Callable[[Any], Any]] = {
    type(None): _none,
    None: _none,
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
}


def _mapping(value: Any, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = parse_key_values(value) if isinstance(value, str) else value
    if not isinstance(pairs, Mapping):
        raise ValueError("input should be a table, or text such as key=value,key2=value2")
    if not arguments:
        return dict(pairs)
    made = {}
    for key, item in pairs.items():
        try:
            made[convert(key, arguments[0])] = convert(item, arguments[1])
        except ValueError as error:
            raise ValueError(f"{error}, at {key!r}") from None
    return made


def _items(value: Any, kind: type, arguments: tuple[Any, ...]) -> Any:
    """A list, tuple or set; one that is written `tuple[int, ...]` or `list[int]`, of any length."""
    items = parse_list(value) if isinstance(value, str) else value
    if not isinstance(items, (list, tuple, set, frozenset)):
        raise ValueError("input should be a list, or text with commas between the items")
    item_kind = arguments[0] if arguments else Any
    made = []
    for number, item in enumerate(items, 1):
        try:
            made.append(convert(item, item_kind))
        except ValueError as error:
            raise ValueError(f"{error}, at item {number}") from None
    return kind(made) if kind in {list, tuple, set, frozenset} else tuple(made)
