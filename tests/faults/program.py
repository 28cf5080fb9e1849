"""A program that traces; what it does is its argument.

Its backend is a Zipkin at `TRACING_ZIPKIN__ENDPOINT`, or a gRPC collector at `TRACING_OPENTELEMETRY__ENDPOINT`.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading

from kai_tracing_core import RecordingProvider, TracingService
from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.retry import RetryPolicy

config = PipelineConfig(
    resource={"service.name": "program"},
    batch=BatchOptions(delay=3600, exit_timeout=2, retry=RetryPolicy(initial=0.05, maximum=0.2)),
)


def chosen() -> RecordingProvider:
    """The provider that the environment names."""
    if endpoint := os.environ.get("TRACING_OPENTELEMETRY__ENDPOINT"):
        from kai_tracing_opentelemetry import OpenTelemetryProvider, OpenTelemetrySettings

        otlp = OpenTelemetrySettings(endpoint=endpoint, protocol="grpc", timeout=5)
        return OpenTelemetryProvider(otlp, config=config, set_global=False)
    from kai_tracing_zipkin import ZipkinProvider, ZipkinSettings

    zipkin = ZipkinSettings(endpoint=os.environ["TRACING_ZIPKIN__ENDPOINT"], timeout=1)
    return ZipkinProvider(zipkin, config=config)


tracing = TracingService(chosen())


def work(name: str, count: int = 5) -> None:
    """End so many spans."""
    for _ in range(count):
        with tracing.span(name):
            pass


def script() -> None:
    """A plain script: some spans, and the end."""
    work("script")


def uncaught() -> None:
    """A script that dies of an exception."""
    with tracing.span("uncaught"):
        raise SystemExit(3)


def children(method: str) -> None:
    """Children by `multiprocessing`, with spans of the parent waiting in its queue meanwhile."""
    work("parent")
    context = multiprocessing.get_context(method)
    processes = [context.Process(target=work, args=(f"child {number}",)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    work("parent")


def fork_among_threads() -> None:
    """Forks while other threads trace, from a process that has sent before."""
    work("parent")
    tracing.flush(10)
    stop = threading.Event()

    def trace() -> None:
        while not stop.is_set():
            work("thread", 1)
            stop.wait(0.001)

    thread = threading.Thread(target=trace)
    thread.start()
    try:
        for number in range(5):
            if (pid := os.fork()) == 0:
                work(f"child {number}")
                os._exit(0 if tracing.flush(10) and tracing.stats().exported == 5 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"script": script, "uncaught": uncaught, "children": children, "fork": fork_among_threads}[command](*arguments)
