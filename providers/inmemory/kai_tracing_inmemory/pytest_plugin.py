"""The pytest plugin: `tracing_spans`, `trace_tree`, `@pytest.mark.tracing`, and traces in the report of what fails.

Every pytest run of an environment that has this package imports this module, so whatever it needs is imported by what
needs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kai_tracing_inmemory.capture import CapturedSpans

__all__ = ["trace_tree", "tracing_spans"]

_SAVE = "tracing_save_dir"
_SPANS: pytest.StashKey[CapturedSpans] = pytest.StashKey()
_MAX_LINES = 200
_MAX_NAME = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--tracing-save-dir` and the ini option of the same name."""
    text = "save the traces of failing tests that use tracing_spans in this directory"
    parser.getgroup("tracing", "kai-tracing").addoption("--tracing-save-dir", dest=_SAVE, metavar="DIR", help=text)
    parser.addini(_SAVE, f"{text}; relative to the root directory", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker."""
    config.addinivalue_line(
        "markers",
        "tracing(fixed=False, **settings): how tracing_spans configures tracing: with fixed ids and a fixed clock, "
        "and with settings of initialize_tracing, such as sampler='ratio' or service_name='shop'",
    )


@pytest.fixture
def tracing_spans(request: pytest.FixtureRequest) -> Iterator[CapturedSpans]:
    """The spans that the test makes through `tracing`, on whatever thread or task, with assertions about them."""
    from kai_tracing_core.errors import ConfigurationError
    from kai_tracing_inmemory.capture import capture_spans

    options: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("tracing"))):  # the nearest one has the last word
        if mark.args:
            pytest.fail("@pytest.mark.tracing takes keywords only, such as fixed=True", pytrace=False)
        options.update(mark.kwargs)
    with ExitStack() as stack:
        try:
            spans = stack.enter_context(capture_spans(**options))
        except ConfigurationError as error:
            pytest.fail(f"@pytest.mark.tracing: {error}", pytrace=False)
        request.node.stash[_SPANS] = spans
        yield spans


@pytest.fixture
def trace_tree(tracing_spans: CapturedSpans) -> Callable[..., str]:
    """Gives the test's traces as text without times and ids: `trace_tree()`, with attributes `trace_tree("user.id")`.

    For libraries of snapshots; `tracing_spans.assert_tree` takes the same text.
    """
    return tracing_spans.snapshot


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the trace of a failing test to its report, and save it."""
    report = yield
    spans = item.stash.get(_SPANS, None)
    if report.failed and spans is not None:
        lines = spans.report().splitlines()
        if len(lines) > _MAX_LINES:
            lines[_MAX_LINES:] = [f"... and {len(lines) - _MAX_LINES} lines more"]
        directory = _directory(item.config)
        if directory is not None:
            lines += _save(spans, directory, item.nodeid)
        report.sections.append(("trace", "\n".join(lines)))
    return report


def _directory(config: pytest.Config) -> Path | None:
    given = config.getoption(_SAVE)
    if given:
        return Path(config.invocation_params.dir, given)
    configured = config.getini(_SAVE)
    return Path(config.rootpath, configured) if configured else None


def _save(spans: CapturedSpans, directory: Path, nodeid: str) -> Iterator[str]:
    """Write the files; gives what the report says about it. A full disk must not hide why the test failed."""
    from kai_tracing_inmemory.saving import save

    try:
        for path in save(spans, directory, _file_name(nodeid)):
            yield f"saved: {path}"
    except OSError as error:
        yield f"not saved: {error}"


def _file_name(nodeid: str) -> str:
    plain = nodeid.replace("/", ".").replace("::", ".")
    name = re.sub(r"[^\w.-]+", "-", plain)[:_MAX_NAME]
    if name == plain:
        return name
    return f"{name}-{sha256(nodeid.encode('utf-8', 'replace')).hexdigest()[:8]}"
