"""Starts the shop, sends it shoppers, and shows what comes of it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from kai_tracing_core import initialize_tracing, tracing
from kai_tracing_core.demo.http import CallFailed, call
from kai_tracing_core.demo.receiver import ReceivedSpan, SpanReceiver
from kai_tracing_core.demo.shop import SERVICES
from kai_tracing_core.demo.trees import missing, tree

__all__ = ["FIXED_REQUESTS", "run"]

FIXED_REQUESTS = 12
"""How many requests a run has that nobody watches."""

_STOP_TIMEOUT = 15.0
_TRACE_TIMEOUT = 20.0
_PAUSE = 0.7

_LOOK = {
    "zipkin": "http://localhost:9411/zipkin, unless TRACING_ZIPKIN__ENDPOINT says otherwise",
    "jaeger": "http://localhost:16686, unless TRACING_JAEGER__ENDPOINT says otherwise",
    "opentelemetry": "the backend of the collector at OTEL_EXPORTER_OTLP_ENDPOINT (default http://localhost:4318)",
}


@dataclass(frozen=True, slots=True)
class Journey:
    """One thing that a shopper does, and the services whose spans it makes."""

    name: str
    method: str
    path: str
    services: frozenset[str]


JOURNEYS = (
    Journey("browse", "GET", "/browse", frozenset(("shopper", "gateway", "catalog"))),
    Journey("fill the cart", "POST", "/cart?product=lamp", frozenset(("shopper", "gateway", "cart", "catalog"))),
    Journey("buy", "POST", "/buy", frozenset(("shopper", "gateway", "checkout", "cart", "payment"))),
)


def run(requests: int | None = None, console: Console | None = None) -> int:
    """Run the demo; `requests` None goes on until Ctrl-C.

    Without TRACING_TYPE the spans come back here and every trace is shown as a tree; with it they go to that
    provider. Returns the exit code: 0 when every request was answered and every span arrived whole.
    """
    # Where nobody watches, the lines may be as long as they are.
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    chosen = os.environ.get("TRACING_TYPE")
    if not chosen and "zipkin" not in entry_points(group="kai_tracing.providers").names:
        console.print('The demo sends its spans as Zipkin does: pip install "kai-tracing-core\\[zipkin]"', style="red")
        return 1
    problems: list[str] = []
    with ExitStack() as stack:
        receiver = None if chosen else stack.enter_context(SpanReceiver())
        stack.enter_context(_environment(receiver))
        try:
            gateway = stack.enter_context(_shop(problems))
            console.print(f"A shop of {len(SERVICES)} services is open at {gateway}.")
            console.print(_destination(chosen) + (" Ctrl-C closes it." if requests is None else ""), end="\n\n")
            _send(gateway, requests, receiver, console, problems)
        except KeyboardInterrupt:  # while the shop was opening
            pass
        if requests is None:
            console.print("Closing the shop.")
        provider = tracing.provider
        tracing.shutdown(5.0)
        _count_losses("shopper", asdict(provider.stats()), problems)
    for problem in problems:
        console.print(problem, style="red", markup=False)
    if not problems:
        console.print("Every request was answered, and no span was lost.")
    if not chosen:
        console.print(
            "To see them in Jaeger: TRACING_TYPE=jaeger kai-tracing demo (or make demo); the same for others."
        )
    return 1 if problems else 0


def _destination(chosen: str | None) -> str:
    if not chosen:
        return "Its spans come back to this terminal."
    look = f" Look at {_LOOK[chosen]}." if chosen in _LOOK else ""
    return f"Its spans go to TRACING_TYPE={chosen}.{look}"


@contextmanager
def _environment(receiver: SpanReceiver | None) -> Iterator[None]:
    """The settings of all processes, this one's among them: the user's or, with our own receiver, none but ours."""
    before = dict(os.environ)
    if receiver is not None:
        for name in before:
            if name.upper().startswith(("TRACING_", "OTEL_")):
                del os.environ[name]
        os.environ.update(TRACING_TYPE="zipkin", TRACING_ZIPKIN__ENDPOINT=receiver.endpoint)
    os.environ["TRACING_SERVICE_NAME"] = "shopper"
    os.environ.setdefault("TRACING_BATCH__DELAY", "0.2")
    try:
        initialize_tracing()
        yield
    finally:
        tracing.shutdown()
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _shop(problems: list[str]) -> Iterator[str]:
    """Run every service in a process of its own; gives the gateway's address. Adds what they lost to `problems`."""
    processes: dict[str, subprocess.Popen[str]] = {}
    addresses: dict[str, str] = {}
    try:
        for name in SERVICES:
            peers = [f"{peer}={address}" for peer, address in addresses.items()]
            processes[name] = process = _start(name, peers)
            port = process.stdout.readline() if process.stdout is not None else ""
            if not port:
                raise RuntimeError(f"{name} ended before it began; what it said is above")
            addresses[name] = f"http://127.0.0.1:{int(port)}"
        yield addresses["gateway"]
    finally:
        for process in processes.values():
            if process.stdin is not None:
                process.stdin.close()  # which tells it to end
                process.stdin = None
        for name, process in processes.items():
            _stop(name, process, problems)


def _start(name: str, peers: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603  # this interpreter, our own module, no shell
        [sys.executable, "-m", "kai_tracing_core.demo.shop", name, *peers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TRACING_SERVICE_NAME": name},
        start_new_session=True,  # Ctrl-C is for this process, which tells the others
    )


def _stop(name: str, process: subprocess.Popen[str], problems: list[str]) -> None:
    try:
        output, _ = process.communicate(timeout=_STOP_TIMEOUT)
        _count_losses(name, json.loads(output), problems)
    except (subprocess.TimeoutExpired, ValueError):
        process.kill()
        process.communicate()
        problems.append(f"{name} did not end by itself")


def _count_losses(name: str, stats: Mapping[str, Any], problems: list[str]) -> None:
    lost = sum(stats["dropped"].values()) + stats["queued"]
    if lost:
        problems.append(f"{name} could not deliver {lost} spans: {stats['last_error'] or 'still queued'}")


def _send(
    gateway: str,
    requests: int | None,
    receiver: SpanReceiver | None,
    console: Console,
    problems: list[str],
) -> None:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    display = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with _ctrl_c() as pressed, display as progress:
        task = progress.add_task("requests", total=requests)
        for journey in itertools.islice(itertools.cycle(JOURNEYS), requests):
            trace_id = _walk(journey, gateway, console, problems)
            if receiver is not None:
                _show(journey, trace_id, receiver, console, problems)
            progress.advance(task)
            if requests is None:
                time.sleep(_PAUSE)
            if pressed:
                break


@contextmanager
def _ctrl_c() -> Iterator[list[int]]:
    """A list that is filled when Ctrl-C is pressed; as an exception it might strike while the display holds a lock."""
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _walk(journey: Journey, gateway: str, console: Console, problems: list[str]) -> str:
    """Send one request; gives the id of its trace."""
    began = time.perf_counter()
    outcome = "answered"
    with tracing.span(journey.name) as span:
        try:
            call(journey.method, gateway + journey.path)
        except (CallFailed, OSError) as error:
            outcome = f"failed: {error}"
            span.record_exception(error)
            problems.append(f"{journey.name} {outcome}")
    console.print(f"{journey.name}: {outcome} in {1000 * (time.perf_counter() - began):.0f} ms, trace {span.trace_id}")
    return span.trace_id


def _show(journey: Journey, trace_id: str, receiver: SpanReceiver, console: Console, problems: list[str]) -> None:
    """Wait for the trace and show it."""

    def whole(spans: Sequence[ReceivedSpan]) -> bool:
        return not missing(spans, journey.services)

    spans = receiver.wait(trace_id, whole, _TRACE_TIMEOUT)
    console.print(tree(spans, console.width))
    console.print()
    problems.extend(f"the trace {trace_id} is not whole: {what}" for what in missing(spans, journey.services))
