"""What the tables that describe samplers have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from kai_tracing_core.sampling.base import Sampler

__all__ = ["Chance", "SamplerContext", "Table", "parse_number"]

Chance: TypeAlias = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class SamplerContext:
    """What a sampler is created in.

    The service; a clock that gives seconds, where it is not to be the monotonic one; and what makes the sampler of
    another package by its name and argument.
    """

    service_name: str = ""
    clock: Callable[[], float] | None = None
    plugin: Callable[[str, str | None], Sampler] | None = None

    def timed(self) -> dict[str, Any]:
        """The keyword for what has a clock."""
        return {} if self.clock is None else {"clock": self.clock}


class Table(BaseModel):
    """A table without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def parse_number(text: str) -> float | str:
    """The number that a short form has; what is none is left for the model to complain about."""
    try:
        return float(text)
    except ValueError:
        return text
