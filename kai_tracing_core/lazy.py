"""Public names that are imported when somebody asks for them (PEP 562), so that a package's import stays cheap."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_exports"]


def lazy_exports(
    package: str, modules: Mapping[str, str], extras: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """The `__getattr__` of a package: by public name, the module of the package that has it.

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
