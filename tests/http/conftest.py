"""Real servers on 127.0.0.1, and the spans of both sides."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import uvicorn
from kai_tracing_inmemory import InMemoryProvider
from werkzeug.serving import make_server

from kai_tracing_core import Span, TracingService
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import SpanProcessor
from tests.http.site import Site


class Recorded(SpanProcessor):
    """The finished spans, which can be waited for: a server ends its span when the client has its answer already."""

    def __init__(self) -> None:
        self.service: TracingService
        self._spans: list[Span] = []
        self._changed = threading.Condition()

    def on_end(self, span: Span) -> None:
        with self._changed:
            self._spans.append(span)
            self._changed.notify_all()

    def wait(self, count: int) -> list[Span]:
        """The spans, of which there must be `count` within ten seconds, in the order of their starts."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._spans) >= count, 10), self._spans
            found = sorted(self._spans, key=lambda span: span.start_time)
        assert len(found) == count, found
        return found

    def one(self) -> Span:
        """The only span."""
        return self.wait(1)[0]

    def wait_for(self, name: str) -> Span:
        """The first span of this name, within ten seconds."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(s.name == name for s in self._spans), 10), self._spans
            return next(span for span in self._spans if span.name == name)

    def so_far(self) -> list[Span]:
        """Those that there are."""
        with self._changed:
            return list(self._spans)

    def clear(self) -> None:
        """Forget them."""
        with self._changed:
            self._spans.clear()


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """The spans of `recorded.service`, in-memory."""
    found = Recorded()
    found.service = TracingService(InMemoryProvider(config=PipelineConfig(processors=(found,))))
    yield found
    found.service.shutdown()


@pytest.fixture
def service(recorded: Recorded) -> TracingService:
    """The service whose spans `recorded` has."""
    return recorded.service


@pytest.fixture
def site() -> Iterator[Site]:
    """A site to call."""
    with Site() as running:
        yield running


@contextmanager
def serving(app: Any, **options: Any) -> Iterator[str]:
    """An ASGI application behind uvicorn; the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=2, **options)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def serving_wsgi(app: Any) -> Iterator[str]:
    """A WSGI application behind werkzeug's threaded server; the address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts an ASGI application; the address."""
    with ExitStack() as stack:
        yield lambda app, **options: stack.enter_context(serving(app, **options))


@pytest.fixture
def serve_wsgi() -> Iterator[Serve]:
    """Starts a WSGI application; the address."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(serving_wsgi(app))


__all__ = ["Recorded", "Serve", "serving", "serving_wsgi"]
