"""`kai-tracing doctor`: does it work, and if not, why."""

from __future__ import annotations

import logging
import os
import select
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kai_tracing_core.processing.processor import Stats
    from kai_tracing_core.provider import TracingProvider
    from kai_tracing_core.settings import TracingSettings

__all__ = ["Check", "diagnose", "doctor"]

_DENIED = frozenset(("http_401", "http_403", "grpc_unauthenticated", "grpc_permission_denied"))
_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("!", "yellow")}


@dataclass(frozen=True)
class Check:
    """One finding; `passed` None is a warning, which does not fail the whole. `remedy` is the way out."""

    passed: bool | None
    text: str
    remedy: str = ""


@click.command()
@click.option("--timeout", default=5.0, show_default=True, help="Seconds that the test span may take.")
def doctor(timeout: float) -> None:
    """Check settings, provider, delivery, forking and versions; exit code 1 if something is wrong."""
    failed = 0
    for check in diagnose(timeout):
        mark, colour = _MARKS[check.passed]
        click.echo(f"{click.style(mark, fg=colour)} {check.text}")
        if check.remedy:
            click.echo(f"    {check.remedy}")
        failed += check.passed is False
    if failed:
        click.echo(f"\n{failed} of the checks failed.")
        raise SystemExit(1)


def diagnose(timeout: float = 5.0) -> Iterator[Check]:
    """All checks, one after the other; those that need what has failed are left out."""
    from kai_tracing_core.errors import ConfigurationError
    from kai_tracing_core.settings import TracingSettings

    with _warnings() as noted:
        try:
            settings = TracingSettings()
        except ConfigurationError as error:
            yield Check(False, f"settings: {error}")
        else:
            yield from _settings(settings)
            yield from _provider(settings, timeout)
    yield from (Check(None, text) for text in dict.fromkeys(noted))
    yield from _versions()


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What is logged as a warning meanwhile, which would otherwise get between the lines."""
    noted: list[str] = []

    class _Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # What goes wrong with the delivery is a finding of its own.
            if not record.name.startswith("kai_tracing_core.processing"):
                noted.append(record.getMessage())

    handler = _Handler(logging.WARNING)
    logger = logging.getLogger("kai_tracing_core")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield noted
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _settings(settings: TracingSettings) -> Iterator[Check]:
    given = sum(value.source != "default" for value in settings.sources().values())
    yield Check(True, f"settings: {given} given, the others are defaults", "kai-tracing settings shows all of them.")
    if not settings.enabled:
        yield Check(
            None, "tracing is disabled", f"{settings.describe('enabled')}; remove it, or call tracing.enable()."
        )
    if settings.type == "noop":
        yield Check(None, "nothing is recorded: the provider is noop", "Set TRACING_TYPE; see kai-tracing providers.")
    elif settings.service_name == "unknown_service":
        yield Check(None, "the service has no name", "Set TRACING_SERVICE_NAME.")


def _provider(settings: TracingSettings, timeout: float) -> Iterator[Check]:
    from kai_tracing_core import plugins
    from kai_tracing_core.errors import ConfigurationError
    from kai_tracing_core.initializer import create

    try:
        plugin = plugins.choose("providers", settings.type, settings.describe("type"))
        # The checks of sampler and formats are those of the real settings, those of the delivery must not depend on
        # the sampler's mood, nor on how long a batch waits or is repeated.
        create(settings).shutdown(0.0)
        provider = create(
            settings.replace(
                sampler="always_on",
                sampler_arg=None,
                batch={"export_timeout": timeout, "retry": {"max_elapsed": min(timeout, 1.0)}},
                spool={"directory": None},
            )
        )
        provider.initialize()
    except (ConfigurationError, OSError) as error:
        yield Check(False, f"provider: {error}")
        return
    except Exception as error:
        yield Check(False, f"provider: {settings.type} cannot be started: {type(error).__name__}: {error}")
        return
    yield Check(True, f"provider: {plugin.name}, of {plugin.distribution}")
    try:
        if settings.type != "noop":
            delivery = _delivery(provider, timeout)
            yield delivery
            if delivery.passed:
                yield from _fork(provider, timeout)
    finally:
        provider.shutdown(timeout)


def _delivery(provider: TracingProvider, timeout: float) -> Check:
    started = perf_counter()
    stats = _send(provider, timeout)
    seconds = perf_counter() - started
    if stats.exported:
        return Check(True, f"delivery: a test span was taken after {seconds * 1000:.0f} ms")
    if not stats.ended:
        return Check(None, "delivery: the provider does not count what it delivers")
    lost = ", ".join(f"{reason}: {count}" for reason, count in stats.dropped.items() if count)
    return Check(
        False,
        f"delivery: the test span did not arrive ({lost or f'still waiting after {timeout:g} s'})",
        f"{stats.last_error or 'Nothing answered'}. {_question(stats)}",
    )


def _question(stats: Stats) -> str:
    """What to look at, by the reason for which the test span was lost."""
    if _DENIED.intersection(stats.dropped):
        return "Is there a token in the provider's headers, and is it one for sending?"
    return "Is the backend there, and is this its address?"


def _send(provider: TracingProvider, timeout: float) -> Stats:
    provider.span("kai-tracing doctor").end()
    provider.flush(timeout)
    return provider.stats()


def _fork(provider: TracingProvider, timeout: float) -> Iterator[Check]:
    """Whether a forked child (gunicorn --preload, multiprocessing) delivers, too, found out by forking one."""
    if not hasattr(os, "fork"):  # pragma: no cover - Windows
        return
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of threads at a fork: how the provider takes that is what is being tried.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _in_child(provider, timeout, writer)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], timeout + 2.0)
        answer = os.read(reader, 4096).decode("utf-8", "replace") if ready else ""
    finally:
        os.close(reader)
        if not ready:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if answer == "ok":
        yield Check(True, "fork: a forked child delivers its spans")
    elif ready:
        yield Check(None, f"fork: a forked child's test span did not arrive: {answer or 'the child died'}")
    else:
        yield Check(
            False,
            "fork: a forked child hangs when it delivers a span",
            "Initialise tracing after the fork (gunicorn: without --preload, or in post_fork), or spawn.",
        )


def _in_child(provider: TracingProvider, timeout: float, writer: int) -> None:
    try:
        stats = _send(provider, timeout)
        os.write(writer, b"ok" if stats.exported or not stats.ended else (stats.last_error or "lost").encode()[:4000])
    finally:
        os._exit(0)


def _versions() -> Iterator[Check]:
    from kai_tracing_core.cli.versions import conflicts

    found = conflicts()
    yield from (Check(False, f"versions: {text}", remedy) for text, remedy in found)
    if not found:
        yield Check(True, "versions: what kai-tracing needs is installed in versions that go together")
