"""Services that measure where the time of an asyncio event loop goes, and what the tests of it share."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator

import pytest

from kai_tracing_core import Span, TracingService
from kai_tracing_core.telemetry import asyncio_steps
from tests.telemetry.conftest import Initialized

# Busy machines make everything take longer, hence what took time is only compared with what it must have taken.
BLOCK = 0.05


def block(seconds: float) -> None:
    """Do what a coroutine should not."""
    time.sleep(seconds)


@pytest.fixture
def service(initialized: Initialized) -> TracingService:
    """A service that measures asyncio; nothing is a stall or a pause."""
    return initialized(asyncio=True, asyncio_stall=1e6, asyncio_gc_pause=1e6)


@pytest.fixture
def stalling(initialized: Initialized) -> TracingService:
    """A service for which 50 ms are a stall."""
    return initialized(asyncio=True, asyncio_stall=BLOCK, asyncio_gc_pause=1e6)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = asyncio.new_event_loop, asyncio.events.new_event_loop, list(gc.callbacks)
    yield
    asyncio_steps._watch._restore()
    assert (asyncio.new_event_loop, asyncio.events.new_event_loop, list(gc.callbacks)) == before


def finished(service: TracingService) -> dict[str, Span]:
    """The finished spans by name."""
    return {span.name: span for span in service.provider.spans}


def seconds(span: Span, name: str) -> float:
    """A measured time of a span."""
    value = span.attributes[name]
    assert isinstance(value, float)
    return value
