"""Messages: a context that travels in their headers, links of batches, and Celery as the guide wires it."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery
import pytest
from celery import signals
from celery.contrib.testing.worker import start_worker

from kai_tracing_core import Link, SpanKind, SpanStatusCode, TracingService
from tests.http.conftest import Recorded

HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


def test_link_from(service: TracingService) -> None:
    """A link to the sender's span, from headers of any shape, with attributes if there are any."""
    link = service.link_from(HEADERS)
    assert isinstance(link, Link)
    assert (link.context.trace_id, link.context.span_id) == tuple(HEADERS["traceparent"].split("-")[1:3])
    assert service.link_from([(b"Traceparent", HEADERS["traceparent"].encode())], {"n": 1}).attributes == {"n": 1}


@pytest.mark.parametrize("headers", [{}, {"traceparent": "rubbish"}, {"baggage": "tenant=t1"}, None, 7])
def test_no_link(headers: Any, service: TracingService) -> None:
    """Where there is no context there is no link, and nothing is raised."""
    assert service.link_from(headers) is None


def test_batch(service: TracingService, recorded: Recorded) -> None:
    """A consumer that takes several messages at once links to each sender."""
    messages: queue.Queue[dict[str, str]] = queue.Queue()
    for _ in range(2):
        with service.span("send", kind=SpanKind.PRODUCER) as span:
            headers: dict[str, str] = {}
            service.inject_context(span.trace_context, headers)
            messages.put(headers)

    def consume() -> None:
        batch = [messages.get(), messages.get()]
        links = [link for headers in batch if (link := service.link_from(headers)) is not None]
        with service.span("process", kind=SpanKind.CONSUMER, links=links):
            pass

    thread = threading.Thread(target=consume)
    thread.start()
    thread.join()
    first, second, process = recorded.wait(3)
    assert [link.context.span_id for link in process.links] == [first.span_id, second.span_id]
    assert process.parent_id is None


@pytest.fixture
def app(service: TracingService) -> Iterator[celery.Celery]:
    """A Celery application wired as the guide says, with two tasks and a worker in a thread."""
    guide = Path(__file__).parents[2] / "docs/guides/messaging.md"
    wiring = next(
        block for block in re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL) if "celery" in block
    )
    names: dict[str, Any] = {"tracing": service, "SpanKind": SpanKind}
    exec(wiring, names)  # the guide's own lines
    app = celery.Celery("shop", broker="memory://", backend="cache+memory://")

    @app.task(name="charge", shared=False)
    def charge(order: int) -> int:
        with service.span("charge card"):
            return order

    @app.task(name="fail", shared=False)
    def fail() -> None:
        raise ValueError("out of stock")

    def leave_logging_alone(**_: Any) -> None:
        """The worker would replace the handlers and levels of the whole test process."""

    signals.setup_logging.connect(leave_logging_alone)
    with start_worker(app, perform_ping_check=False, pool="solo"):
        yield app
    app.close()
    signals.setup_logging.disconnect(leave_logging_alone)
    signals.before_task_publish.disconnect(names["sending"])
    signals.task_prerun.disconnect(names["beginning"])
    signals.task_failure.disconnect(names["failing"])
    signals.task_postrun.disconnect(names["ending"])


def test_celery(app: celery.Celery, service: TracingService, recorded: Recorded) -> None:
    """What a task does in the worker belongs to the trace of the request that queued it."""
    with service.span("checkout") as checkout:
        assert app.tasks["charge"].delay(7).get(timeout=10) == 7
    run, send = recorded.wait_for("run charge"), recorded.wait_for("send charge")
    assert (run.kind, run.parent_id) == (SpanKind.CONSUMER, send.span_id)
    assert (send.kind, send.parent_id) == (SpanKind.PRODUCER, checkout.span_id)
    assert recorded.wait_for("charge card").parent_id == run.span_id


def test_failing_task(app: celery.Celery, recorded: Recorded) -> None:
    """A task that raises is an error, with the exception as an event."""
    with pytest.raises(ValueError, match="out of stock"):
        app.tasks["fail"].delay().get(timeout=10)
    run = recorded.wait_for("run fail")
    assert run.status is SpanStatusCode.ERROR
    assert [event.name for event in run.events] == ["exception"]
