"""Where settings come from: keywords, the environment, `.env`, `OTEL_*` variables, and a file.

Every source gives *leaves*: a raw value, and a label that says where it was found. Those of one setting are kept in
the order of their precedence, so that a bad `OTEL_*` value can give way to the next, as OpenTelemetry's
specification demands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from copy import copy
from itertools import islice
from typing import Any, TypeAlias

from kai_tracing_core.errors import ConfigurationError
from kai_tracing_core.records import NamedTuple

__all__ = [
    "PREFIX",
    "Leaf",
    "Leaves",
    "OtelVariables",
    "Sources",
    "Value",
    "parse_key_values",
    "parse_list",
    "variable",
]

PREFIX = "TRACING_"

_KEYWORD, _ENVIRONMENT, _DOTENV, _OTEL, _FILE = range(5)

OtelVariables: TypeAlias = Mapping[str, tuple[str, ...]]


class Leaf(NamedTuple):
    """One value as one source has it; a lower `rank` goes first. `text` is what was written, where that differs."""

    rank: int
    value: Any
    source: str
    text: str | None = None

    @property
    def lenient(self) -> bool:
        """Whether a bad value is warned about and ignored (OpenTelemetry specification, environment variables)."""
        return self.rank == _OTEL

    @property
    def is_variable(self) -> bool:
        """Whether it is written as `TRACING_…`."""
        return self.rank in {_ENVIRONMENT, _DOTENV}


class Value(NamedTuple):
    """One setting that is in effect, and where it came from.

    `secret` says that it must not be shown, `from_otel` that an `OTEL_*` variable gave it.
    """

    value: Any
    source: str
    secret: bool = False
    from_otel: bool = False


Leaves: TypeAlias = dict[str, list[Leaf]]
"""By setting (`type`, `batch.delay`, `zipkin.endpoint`) what the sources say, the first of them being in effect."""


def variable(setting: str) -> str:
    """The environment variable of a setting: `TRACING_BATCH__DELAY` for `batch.delay`."""
    return PREFIX + setting.replace(".", "__").replace("-", "_").upper()


def parse_list(text: str) -> list[str]:
    """The items of a comma-separated list, without the blanks around them and without empty ones."""
    return [item for item in (part.strip() for part in text.split(",")) if item]


def parse_key_values(text: str) -> dict[str, str]:
    """`a=1,b=2` with percent-decoded values, the format of `OTEL_RESOURCE_ATTRIBUTES`.

    Raises:
        ValueError: a part has no `=` or no key.
    """
    from urllib.parse import unquote

    pairs: dict[str, str] = {}
    for part in parse_list(text):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ValueError("should look like key=value,key2=value2, with commas inside a value written as %2C")
        pairs[unquote(key.strip())] = unquote(value.strip())
    return pairs


class Sources:
    """The sources of one start-up, read once."""

    def __init__(
        self,
        keywords: Mapping[str, Any],
        environ: Mapping[str, str] | None = None,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        place = _working_directory() if directory is None else os.fspath(directory)
        dotenv, dotenv_path = _read_dotenv(place)
        self._keywords = dict(keywords)
        self._environ = {name: value for name, value in environ.items() if value.strip()}
        self._dotenv = dotenv
        self._dotenv_path = dotenv_path
        self._file, self._file_label = _read_file(place)
        self._without_otel: frozenset[str] = frozenset()

    def without_otel(self, setting: str) -> Sources:
        """The same sources without the `OTEL_*` variables of one setting."""
        other = copy(self)
        other._without_otel |= {setting}
        return other

    def override(self, keywords: Mapping[str, Any]) -> Sources:
        """The same sources with these keywords on top of the ones there are."""
        other = copy(self)
        other._keywords = _merge(self._keywords, keywords)
        return other

    def leaves(self, is_section: Mapping[str, bool]) -> Leaves:
        """What all sources but `OTEL_*` say. `is_section` tells which settings of the core consist of others."""
        found: Leaves = {}
        for setting, value, label in self._raw(is_section):
            found.setdefault(setting, []).append(Leaf(label[0], value, label[1]))
        for leaves in found.values():
            leaves.sort(key=lambda leaf: leaf.rank)
        return found

    def _raw(self, is_section: Mapping[str, bool]) -> Iterator[tuple[str, Any, tuple[int, str]]]:
        for setting, value in _flatten(self._keywords, is_section):
            yield setting, value, (_KEYWORD, "keyword")
        for name, value in self._environ.items():
            if name.upper().startswith(PREFIX):
                yield _setting(name), value, (_ENVIRONMENT, f"environment variable {name}")
        for name, value in self._dotenv.items():
            if name.upper().startswith(PREFIX):
                yield _setting(name), value, (_DOTENV, f"{name} in {self._dotenv_path}")
        for setting, value in _flatten(self._file, is_section):
            yield setting, value, (_FILE, self._file_label)

    def otel(self, names: OtelVariables) -> Iterator[tuple[str, str, str, Leaf]]:
        """By setting the first of its `OTEL_*` variables that is set: setting, variable, text, leaf."""
        places = ((self._environ, "environment variable {}"), (self._dotenv, f"{{}} in {self._dotenv_path}"))
        for setting, variables in names.items():
            found = (
                (name, values[name], place)
                for name in variables
                for values, place in places
                if name in values and setting not in self._without_otel
            )
            for name, text, place in islice(found, 1):
                yield setting, name, text, Leaf(_OTEL, text, place.format(name))


def _setting(name: str) -> str:
    return name[len(PREFIX) :].lower().replace("__", ".")


def _flatten(values: Mapping[str, Any], is_section: Mapping[str, bool], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, given in values.items():
        setting = f"{prefix}{key}".replace("-", "_")
        # BatchOptions and SpanLimits are as good as tables.
        value = given._asdict() if hasattr(given, "_asdict") else given
        # A table whose name the core does not know is a plugin's section, which is flat.
        if isinstance(value, Mapping) and (is_section.get(setting, not prefix)):
            yield from _flatten(value, is_section, f"{setting}.")
        else:
            yield setting, value


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it has been deleted
        return None


def _read_dotenv(directory: str | None) -> tuple[dict[str, str], str]:
    if directory is None or not os.path.isfile(path := os.path.join(directory, ".env")):
        return {}, ""
    from dotenv import dotenv_values

    try:
        values = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    return {name: value for name, value in values.items() if value and value.strip()}, path


def _read_file(directory: str | None) -> tuple[Mapping[str, Any], str]:
    """The table of `tracing.toml` or, where that does not exist, `[tool.kai_tracing]` of `pyproject.toml`."""
    if directory is None:
        return {}, ""
    path = os.path.join(directory, "tracing.toml")
    if os.path.isfile(path):
        return _parse_toml(path, _read(path)), path
    path = os.path.join(directory, "pyproject.toml")
    # Most of these files are none of our business, and may be in whatever state they are.
    if os.path.isfile(path) and b"kai_tracing" in (content := _read(path)):
        return _parse_toml(path, content).get("tool", {}).get("kai_tracing", {}), f"{path} [tool.kai_tracing]"
    return {}, ""


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def _parse_toml(path: str, content: bytes) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # pragma: no cover - Python 3.10
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
