"""Threads and thread pools carry the context while that is switched on, and only then."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kai_tracing_core import TracingService
from kai_tracing_core.threads import trace_threads, untrace_threads

_STARTED = threading.Thread.start
_SUBMITTED = ThreadPoolExecutor.submit


@pytest.fixture
def traced_threads() -> Iterator[None]:
    """Switched on for one test."""
    trace_threads()
    yield
    untrace_threads()
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == (_STARTED, _SUBMITTED)


def _trace_id(service: TracingService) -> str | None:
    span = service.get_current_span()
    return span.trace_id if span is not None else None


def test_off_by_default(service: TracingService) -> None:
    """Nothing is patched until somebody asks for it."""
    with service.span("outer"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(_trace_id, service).result() is None


@pytest.mark.usefixtures("traced_threads")
def test_pool(service: TracingService) -> None:
    """Each task has the context of its own submission, with baggage; a pool's thread keeps none."""
    with ThreadPoolExecutor(1) as pool:
        with service.span("first") as first:
            service.set_baggage("tenant", "t1")
            assert pool.submit(_trace_id, service).result() == first.trace_id
            assert dict(pool.submit(service.get_baggage).result()) == {"tenant": "t1"}
            service.remove_baggage("tenant")
        with service.span("second") as second:
            assert list(pool.map(_trace_id, [service] * 2)) == [second.trace_id] * 2
        assert pool.submit(_trace_id, service).result() is None


@pytest.mark.usefixtures("traced_threads")
def test_run_in_executor(service: TracingService) -> None:
    """Asyncio's `run_in_executor` goes through it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with service.span("outer") as outer:
            assert await loop.run_in_executor(None, _trace_id, service) == outer.trace_id

    asyncio.run(main())


@pytest.mark.usefixtures("traced_threads")
def test_threads(service: TracingService) -> None:
    """A thread has the context of its start, by target and by subclass; it runs once and starts once, as ever."""
    found: list[str | None] = []

    class Worker(threading.Thread):
        def run(self) -> None:
            found.append(_trace_id(service))

    with service.span("outer") as outer:
        threads = [Worker(), threading.Thread(target=lambda: found.append(_trace_id(service)))]
        for thread in threads:
            thread.start()
            thread.join()
    assert found == [outer.trace_id] * 2
    for thread in threads:
        assert "run" not in vars(thread)
        with pytest.raises(RuntimeError):
            thread.start()


@pytest.mark.usefixtures("traced_threads")
def test_changes_stay_inside(service: TracingService) -> None:
    """What the thread changes in its context is not seen outside."""
    variable = contextvars.ContextVar("variable", default="outside")

    def change() -> None:
        variable.set("inside")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(change).result()
        assert pool.submit(variable.get).result() == "outside"
    assert variable.get() == "outside"


@pytest.mark.usefixtures("traced_threads")
def test_errors_pass(service: TracingService) -> None:
    """Exceptions, results and refusals are the pool's own."""
    pool = ThreadPoolExecutor(1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result()
    assert pool.submit(dict, a=1).result() == {"a": 1}
    pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.submit(int)


def test_twice() -> None:
    """Switching on or off again does nothing."""
    trace_threads()
    trace_threads()
    untrace_threads()
    untrace_threads()
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == (_STARTED, _SUBMITTED)


@pytest.mark.usefixtures("traced_threads")
def test_with_the_traced_executor(service: TracingService) -> None:
    """The service's own executor and wrapped functions go on working under it."""
    with service.span("outer") as outer, service.executor(1) as pool:
        assert pool.submit(_trace_id, service).result() == outer.trace_id
        assert pool.submit(service.wrap(_trace_id), service).result() == outer.trace_id
