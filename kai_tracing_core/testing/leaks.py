"""The leak detector: what a test must not leave behind."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from kai_tracing_core.context import BAGGAGE, CURRENT

__all__ = ["no_leaks"]

_PREFIX = "kai-tracing-"
_GRACE = 5.0


@contextmanager
def no_leaks(grace: float = _GRACE) -> Iterator[None]:
    """Fail with `AssertionError` if the block leaves a span, a context, baggage or a worker thread behind.

    What was current before the block must be current after it, in this thread; threads of tracing providers that
    started meanwhile get `grace` seconds to end. What leaked is put back, so that only the culprit fails.
    """
    before = _current()
    threads = set(threading.enumerate())
    yield
    leaks = [
        f"{what}: {value!r} is current, {before.get(what)!r} was before"
        for what, value in _current().items()
        if value != before.get(what, {})
    ]
    _restore(before)
    leaks += [f"thread: {thread.name} still runs" for thread in _running(threads, monotonic() + grace)]
    if leaks:
        raise AssertionError("tracing leaked:\n  " + "\n  ".join(leaks))


def _current() -> dict[str, Any]:
    current: dict[str, Any] = {"span": CURRENT.get(), "baggage": BAGGAGE.get()}
    # Whoever uses OpenTelemetry's context has imported it; importing it here would make it a dependency.
    if (opentelemetry := sys.modules.get("opentelemetry.context")) is not None:
        current["opentelemetry context"] = opentelemetry.get_current()
    return current


def _restore(before: dict[str, Any]) -> None:
    CURRENT.set(before["span"])
    BAGGAGE.set(before["baggage"])
    if (opentelemetry := sys.modules.get("opentelemetry.context")) is not None:
        opentelemetry.attach(before.get("opentelemetry context") or opentelemetry.Context())


def _running(before: set[threading.Thread], deadline: float) -> list[threading.Thread]:
    """The providers' threads that were not there `before` and still run at the deadline."""
    started = [thread for thread in threading.enumerate() if thread.name.startswith(_PREFIX) and thread not in before]
    for thread in started:
        thread.join(max(0.0, deadline - monotonic()))
    return [thread for thread in started if thread.is_alive()]
