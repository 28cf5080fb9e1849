"""`TRACING_BACKEND_TAIL_SAMPLING`: policies in short, or a file that has them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from kai_tracing_backend.sampling.tail import TailOptions
from kai_tracing_core.errors import ConfigurationError
from kai_tracing_core.sampling.config import describe_mistakes
from kai_tracing_core.sampling.config_base import SamplerContext, Table
from kai_tracing_core.sampling.tail_config import AnyPolicy, parse_policies
from kai_tracing_core.sampling.tail_policies import Or, TailPolicy

__all__ = ["TailTable", "load_tail", "read_table"]

_DEFAULTS = TailOptions()
_FILES = (".toml", ".yaml", ".yml", ".json")


class TailTable(Table):
    """What the file has; see `TailOptions`."""

    policies: Annotated[list[AnyPolicy], Field(min_length=1)]
    root_wait: PositiveFloat = _DEFAULTS.root_wait
    max_wait: PositiveFloat = _DEFAULTS.max_wait
    max_bytes: PositiveInt = _DEFAULTS.max_bytes
    max_decisions: PositiveInt = _DEFAULTS.max_decisions

    def policy(self) -> TailPolicy:
        """A trace is kept if any of the policies says so. A new one: policies learn from what they see."""
        return Or(*(policy.create(SamplerContext()) for policy in self.policies))

    def options(self) -> TailOptions:
        """The rest."""
        return TailOptions(self.root_wait, self.max_wait, self.max_bytes, self.max_decisions)


def load_tail(setting: str) -> TailTable | None:
    """What the setting says: None where it is empty; policies as in `error,latency=p95,probability=0.1`; or a file.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong; the message names the field.
    """
    if not setting.strip():
        return None
    where = "TRACING_BACKEND_TAIL_SAMPLING"
    if setting.endswith(_FILES):
        where = setting
        table = read_table(Path(setting))
    else:
        table = {"policies": parse_policies(setting)}
    try:
        return TailTable.model_validate(table)
    except ValidationError as error:
        raise ConfigurationError("\n".join(describe_mistakes(error, table, f"{where}: "))) from error


def read_table(path: Path) -> dict[str, Any]:
    """The table in a file of TOML, YAML or JSON, by the ending of its name.

    Raises:
        ConfigurationError: it cannot be read or is no table.
    """
    try:
        text = path.read_text("utf-8")
        table = _toml(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path} has no table in it")
    return table


def _toml(text: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)
