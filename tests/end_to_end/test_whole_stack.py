"""One trace across real servers: uvicorn, gunicorn, a database and a queue, with every provider that sends spans."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from importlib.util import find_spec
from multiprocessing.connection import Client
from pathlib import Path

import httpx
import pytest

from tests.support.decoding import ReceivedSpan
from tests.support.server import FaultServer

_ROOT = Path(__file__).parents[2]
_PATHS = {"zipkin": "/api/v2/spans", "jaeger": "/v1/traces", "opentelemetry": ""}
_PROVIDERS = [name for name in _PATHS if find_spec(f"kai_tracing_{name}")]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a service as a process of its own, which is stopped after the test."""
    with ExitStack() as stack:

        def run(*command: str, **environment: str) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", *command],
                    cwd=_ROOT,
                    env={**os.environ, "TRACING_BATCH__DELAY": "0.2", **environment},
                    stdout=subprocess.PIPE,
                    text=True,
                    close_fds=False,
                )
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
            return process

        yield run


def _listener(stack: ExitStack) -> tuple[str, str]:
    """A listening socket for a server to inherit: its number, and the address."""
    listener = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0), backlog=16)))
    listener.set_inheritable(True)
    return str(listener.fileno()), f"http://127.0.0.1:{listener.getsockname()[1]}"


def _tree(spans: list[ReceivedSpan]) -> dict[tuple[str, str], tuple[str, str] | None]:
    """Service and name of each span, and those of its parent."""
    names = {span.span_id: (span.service, span.name.lower()) for span in spans}
    return {names[span.span_id]: names[span.parent_id] if span.parent_id else None for span in spans}


@pytest.mark.parametrize("provider", _PROVIDERS)
def test_one_trace(provider: str, start: Start, tmp_path: Path) -> None:
    """All that three services did for a request is one trace, the spans of libraries' own instrumentations in it."""
    with ExitStack() as stack:
        backend = stack.enter_context(FaultServer())
        common = {"TRACING_TYPE": provider, f"TRACING_{provider.upper()}__ENDPOINT": backend.url + _PATHS[provider]}
        stock_socket, stock_url = _listener(stack)
        shop_socket, shop_url = _listener(stack)
        billing = start("tests.end_to_end.billing", TRACING_SERVICE_NAME="billing", **common)
        assert billing.stdout is not None
        port = billing.stdout.readline().strip()
        start(
            *("gunicorn", "--bind", f"fd://{stock_socket}", "--log-level", "error", "tests.end_to_end.stock:app"),
            TRACING_SERVICE_NAME="stock",
            STOCK_DATABASE=str(tmp_path / "stock.db"),
            QUEUE_PORT=port,
            **common,
        )
        start(
            *("uvicorn", "--fd", shop_socket, "--log-level", "error", "tests.end_to_end.shop:app"),
            TRACING_SERVICE_NAME="shop",
            STOCK_URL=stock_url,
            **common,
        )
        answers = [httpx.get(f"{shop_url}/orders/7", timeout=60).json() for _ in range(2)]
        assert [answer["stock"] for answer in answers] == ["reserved"] * 2
        with Client(("127.0.0.1", int(port))) as queue:
            queue.send_bytes(b"")
        billing.wait(20)
        assert backend.wait_for(18, timeout=30), [span.name for span in backend.spans]
        spans = backend.spans

    assert len(spans) == 18
    for answer in answers:
        _check([span for span in spans if span.trace_id == answer["trace"]])


def _check(spans: list[ReceivedSpan]) -> None:
    """The trace of one request."""
    tree = _tree(spans)
    request = ("shop", "get /orders/{order}")
    reservation = ("stock", "put /reservations/<int:order>")
    assert tree[request] is None
    assert tree["shop", "write receipt"] == request
    assert tree["shop", "put"] == request
    assert tree[reservation] == ("shop", "put")
    statements = {name for service, name in tree if name.startswith(("create", "insert"))}
    assert len(statements) == 2
    assert {tree["stock", name] for name in statements} == {reservation}
    assert tree["stock", "send payments"] == reservation
    assert tree["billing", "process payments"] == ("stock", "send payments")
    assert tree["stock", "connect"] == reservation
    assert len(tree) == len(spans) == 9
