"""What the package offers, by name."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import kai_tracing_core

PUBLIC = {
    "ConfigurationError",
    "Link",
    "ProviderSettings",
    "RecordingProvider",
    "Span",
    "SpanKind",
    "SpanOptions",
    "SpanResult",
    "SpanStatusCode",
    "TraceContext",
    "TracingProvider",
    "TracingService",
    "TracingSettings",
    "hookimpl",
    "initialize_tracing",
    "register_plugin",
    "tracing",
}


def test_the_package() -> None:
    """Exactly these names, each of which is there."""
    assert set(kai_tracing_core.__all__) >= PUBLIC
    for name in kai_tracing_core.__all__:
        assert getattr(kai_tracing_core, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        kai_tracing_core.nothing_like_it  # noqa: B018 - the access is what is tested


def modules() -> list[str]:
    """The public modules of the package; the demo is an application."""
    found = pkgutil.walk_packages(kai_tracing_core.__path__, "kai_tracing_core.")
    return sorted(module.name for module in found if "._" not in module.name and ".demo" not in module.name)


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_is_public(name: str) -> None:
    """`__all__` names what exists, and every public name that is defined, except hooks; all of it is documented."""
    module: ModuleType = importlib.import_module(name)
    assert module.__doc__
    if hasattr(module, "__path__"):
        return
    public = set(getattr(module, "__all__", ()))
    assert all(hasattr(module, exported) for exported in public)
    defined = {
        key
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == name
        and not key.startswith(("_", "kai_tracing_"))
        and hasattr(value, "__qualname__")
    }
    assert defined <= public, f"neither private nor in __all__: {defined - public}"
    for exported in public & defined:
        assert getattr(module, exported).__doc__, f"{exported} has no docstring"


def test_starting_is_cheap(tmp_path: Path) -> None:
    """With its first span: none of what makes a start slow is loaded, no annotation compiled, no thread started."""
    heavy = (
        "pydantic asyncio click rich urllib3 httpx opentelemetry pluggy logging dataclasses inspect pathlib tomllib"
        " email importlib.metadata"
    )
    program = (
        "import sys, threading, typing\n"
        "compiled = []\n"
        "def hook(event, arguments):\n"
        "    if event == 'compile' and sys._getframe(1).f_globals is typing.__dict__: compiled.append(arguments)\n"
        "sys.addaudithook(hook)\n"
        "import kai_tracing_core\n"
        "with kai_tracing_core.tracing.span('first'): pass\n"
        f"assert not (heavy := set('{heavy}'.split()) & set(sys.modules)), heavy\n"
        "assert threading.active_count() == 1\n"
        "assert not compiled, compiled\n"
    )
    # Without `site`, whose .pth files import what they like.
    environment = {"TRACING_TYPE": "inmemory", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
