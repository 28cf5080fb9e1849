"""The metrics of real requests, and of an event loop that a request holds up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from kai_tracing_core import TracingService
from kai_tracing_core.http import TracingMiddleware, create_api_client
from kai_tracing_core.telemetry.asyncio_steps import current_step
from tests.telemetry.conftest import Initialized


@pytest.fixture
def service(initialized: Initialized) -> TracingService:
    """A service that measures spans and asyncio."""
    return initialized(telemetry=["inmemory"], asyncio=True, asyncio_stall=0.05)


@pytest.fixture
def url(service: TracingService) -> Iterator[str]:
    """The address of a real server whose requests are traced."""
    app = FastAPI()

    @app.get("/items/{number}")
    async def item(number: int) -> dict[str, int]:
        return {"item": 100 // number}

    @app.get("/blocking")
    async def blocking() -> None:
        step = current_step()
        deadline = time.monotonic() + 30
        while step is not None and step.blocking_stack() is None and time.monotonic() < deadline:
            time.sleep(0.01)  # noqa: ASYNC251 - the wrong that is looked for

    app.add_middleware(TracingMiddleware, service=service)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


def wait_for(telemetry: Any, name: str, calls: int) -> None:
    """Until so many operations ended: a server ends its span when the client has its answer already."""
    deadline = time.monotonic() + 30
    while telemetry.calls(name) < calls and time.monotonic() < deadline:
        time.sleep(0.01)
    assert telemetry.calls(name) == calls


def test_requests(service: TracingService, url: str) -> None:
    """Client and server are measured by the attributes of the semantic conventions, with few distinct values."""
    (telemetry,) = service.telemetry
    with create_api_client(base_url=url, service=service) as client:
        for number in (1, 2, 5):
            client.get(f"/items/{number}")
        client.get("/items/x")
    wait_for(telemetry, "GET /items/{number}", 4)
    found = {
        (request.metric, attributes.get("http.response.status_code")): (attributes, snapshot.weight)
        for request, snapshot in telemetry.http_durations().items()
        for attributes in [dict(request.attributes)]
    }
    attributes, calls = found["http.server.request.duration", 200]
    assert calls == 3
    assert attributes["http.route"] == "/items/{number}"
    assert attributes["http.request.method"] == "GET"
    assert attributes["url.scheme"] == "http"
    attributes, calls = found["http.client.request.duration", 422]
    assert calls == 1
    assert attributes["error.type"] == "422"
    assert f"http://{attributes['server.address']}:{attributes['server.port']}" == url
    assert len(found) == 4


def test_blocking_handler(service: TracingService, url: str) -> None:
    """A handler that blocks the server's loop is named in the request's span."""
    (telemetry,) = service.telemetry
    with create_api_client(base_url=url, service=service) as client:
        client.get("/items/1")  # the server makes its loop itself: it is measured from the first span on
        client.get("/blocking")
    wait_for(telemetry, "GET /blocking", 1)
    (span,) = service.provider.find("GET /blocking")
    (event,) = [event for event in span.events if event.name == "event_loop.stall"]
    assert "in blocking" in event.attributes["code.stacktrace"]
    assert span.attributes["asyncio.running"] >= 0.05
