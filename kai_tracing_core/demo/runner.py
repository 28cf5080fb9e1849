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
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from kai_tracing_core import initialize_tracing, tracing
from kai_tracing_core.demo.backend import BackendError, TraceBackend, installed
from kai_tracing_core.demo.http import CallFailed, call
from kai_tracing_core.demo.receiver import ReceivedSpan, SpanReceiver
from kai_tracing_core.demo.shop import SERVICES
from kai_tracing_core.demo.trees import missing, tree
from kai_tracing_core.plugins import names

__all__ = ["FIXED_REQUESTS", "run"]

FIXED_REQUESTS = 12
"""How many requests a run has that nobody watches."""

_STOP_TIMEOUT = 15.0
_TRACE_TIMEOUT = 20.0
_PAUSE = 0.7
_SEARCHED = 100  # traces that a search is asked for at the end
_SENDERS = ("zipkin", "opentelemetry")  # the providers that the demo can send with by itself

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

    Without TRACING_TYPE every trace is shown as a tree: the spans go to a trace backend, where kai-tracing's is
    installed, or come back here. With it they go to that provider. Returns the exit code: 0 when every request was
    answered and every span arrived whole.
    """
    # Where nobody watches, the lines may be as long as they are.
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    chosen = os.environ.get("TRACING_TYPE")
    provider = _provider()
    if not chosen and provider is None:
        console.print('The demo sends its spans as Zipkin does: pip install "kai-tracing-core\\[zipkin]"', style="red")
        return 1
    problems: list[str] = []
    with ExitStack() as stack:
        try:
            receiver = _receiver(stack, provider, console) if provider and not chosen else None
            stack.enter_context(_environment(receiver))
            gateway = stack.enter_context(_shop(problems))
            console.print(f"A shop of {len(SERVICES)} services is open at {gateway}.")
            console.print(_destination(chosen, receiver), end="\n\n", markup=False)
            if requests is None:
                console.print("Ctrl-C closes it.", end="\n\n")
            walked = _send(gateway, requests, receiver, console, problems)
            if isinstance(receiver, TraceBackend):
                problems.extend(_not_found(receiver, walked))
        except KeyboardInterrupt:  # pragma: no cover - at the one moment while the shop opens
            pass
        except BackendError as error:
            problems.append(str(error))
        if requests is None:
            console.print("Closing the shop.")
        shopper = tracing.provider
        tracing.shutdown(5.0)
        _count_losses("shopper", shopper.stats()._asdict(), problems)
    for problem in problems:
        console.print(problem, style="red", markup=False)
    if not problems:
        console.print("Every request was answered, and no span was lost.")
    if not chosen:
        console.print(
            "To see them in Jaeger: TRACING_TYPE=jaeger kai-tracing demo (or make demo); the same for others."
        )
    return 1 if problems else 0


def _provider() -> str | None:
    """The provider that the demo sends with by itself; without a backend to send to, only Zipkin's will do."""
    there = names("providers")
    return next((name for name in (_SENDERS if installed() else _SENDERS[:1]) if name in there), None)


def _receiver(stack: ExitStack, provider: str, console: Console) -> SpanReceiver | TraceBackend:
    """What the spans are sent to: the trace backend if there is one, else what is just large enough."""
    if not installed():
        return stack.enter_context(SpanReceiver())
    console.print("Starting the trace backend.")
    return stack.enter_context(TraceBackend(provider))


def _destination(chosen: str | None, receiver: SpanReceiver | TraceBackend | None) -> str:
    if isinstance(receiver, TraceBackend):
        commands = [
            "tail                             traces as they come",
            "search '{ status = error }'      those that failed",
            "services                         rate, errors and durations",
            "trace ID                         one of them",
        ]
        lines = [f"  kai-tracing {command}" for command in commands]
        address = [f"  export TRACING_BACKEND_URL={receiver.url}"] if receiver.moved else []
        return "\n".join(
            [f"Its spans go to the trace backend at {receiver.url}. In another terminal:", *address, *lines]
        )
    if receiver is not None:
        return "Its spans come back to this terminal."
    look = f" Look at {_LOOK[chosen]}." if chosen in _LOOK else ""
    return f"Its spans go to TRACING_TYPE={chosen}.{look}"


def _not_found(backend: TraceBackend, walked: Sequence[str]) -> Iterator[str]:
    """Traces of the last requests that a search does not find, as problems."""
    last = walked[-_SEARCHED:]
    found = backend.search('{ resource.service.name = "shopper" }', len(last)) if last else []
    for trace_id in sorted(set(last) - set(found)):
        yield f"a search does not find the trace {trace_id}"


@contextmanager
def _environment(receiver: SpanReceiver | TraceBackend | None) -> Iterator[None]:
    """The settings of all processes, this one's among them: the user's or, with our own receiver, none but ours."""
    before = dict(os.environ)
    if receiver is not None:
        for name in before:
            if name.upper().startswith(("TRACING_", "OTEL_")):
                del os.environ[name]
        os.environ.update(receiver.settings)
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
    receiver: SpanReceiver | TraceBackend | None,
    console: Console,
    problems: list[str],
) -> list[str]:
    """Send shoppers until `requests` are sent or Ctrl-C; gives the ids of their traces."""
    walked: list[str] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    display = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with _ctrl_c() as pressed, display as progress:
        task = progress.add_task("requests", total=requests)
        for journey in itertools.islice(itertools.cycle(JOURNEYS), requests):
            trace_id = _walk(journey, gateway, console, problems)
            walked.append(trace_id)
            if receiver is not None:
                _show(journey, trace_id, receiver, console, problems)
            progress.advance(task)
            if requests is None:
                time.sleep(_PAUSE)
            if pressed:
                break
    return walked


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


def _show(
    journey: Journey, trace_id: str, receiver: SpanReceiver | TraceBackend, console: Console, problems: list[str]
) -> None:
    """Wait for the trace and show it."""

    def whole(spans: Sequence[ReceivedSpan]) -> bool:
        return not missing(spans, journey.services)

    spans = receiver.wait(trace_id, whole, _TRACE_TIMEOUT)
    console.print(tree(spans, console.width))
    console.print()
    problems.extend(f"the trace {trace_id} is not whole: {what}" for what in missing(spans, journey.services))
