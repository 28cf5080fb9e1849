"""What is imported when somebody asks for it, so that a package's import stays cheap."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["lazy_exports", "lazy_logger"]


def lazy_exports(
    package: str, modules: Mapping[str, str], extras: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """The `__getattr__` of a package (PEP 562): by public name, the module of the package that has it.

    `extras` says, by a library that may not be installed, which extra of kai-tracing-core brings it; the ImportError
    then names the command.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(f"{package}.{modules[name]}"), name)
        except ModuleNotFoundError as error:
            extra = (extras or {}).get(error.name or "")
            if extra is None:
                raise
            raise ImportError(
                f"{name} needs {error.name}, which is not installed: pip install 'kai-tracing-core[{extra}]'"
            ) from error
        setattr(sys.modules[package], name, value)
        return value

    return get


def lazy_logger(name: str) -> Logger:
    """`logging.getLogger(name)`; `logging` is imported with the first message."""
    return _LazyLogger(name)  # type: ignore[return-value]  # it passes everything on


class _LazyLogger:
    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        from logging import getLogger

        return getattr(getLogger(self._name), attribute)
