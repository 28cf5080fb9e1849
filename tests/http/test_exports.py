"""What `kai_tracing_core.http` offers, and what that needs."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import kai_tracing_core.http


def _run(program: str, *missing: str) -> str:
    """The output of a program in a fresh interpreter in which some packages are not installed."""
    hidden = f"import sys\nfor name in {missing!r}: sys.modules[name] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", hidden + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_every_name() -> None:
    """All that is announced is there, and nothing else is made up."""
    for name in kai_tracing_core.http.__all__:
        assert getattr(kai_tracing_core.http, name) is not None
    with pytest.raises(AttributeError):
        kai_tracing_core.http.nothing  # noqa: B018 - looking it up is the test


def test_middleware_without_httpx() -> None:
    """The middleware needs neither httpx nor tenacity nor requests, and imports none of them."""
    program = """
        from kai_tracing_core.http import TracingMiddleware, TracingWsgiMiddleware
        print(TracingMiddleware.__name__, TracingWsgiMiddleware.__name__)
    """
    assert _run(program, "httpx", "tenacity", "requests") == "TracingMiddleware TracingWsgiMiddleware\n"


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("api_client", "httpx", "http"),
        ("create_api_client", "tenacity", "http"),
        ("TracingTransport", "anyio", "http"),
        ("TracingAdapter", "requests", "requests"),
    ],
)
def test_missing_extra(name: str, missing: str, extra: str) -> None:
    """Where a package is missing the error says which extra brings it."""
    program = f"""
        try:
            from kai_tracing_core.http import {name}
        except ImportError as error:
            print(error)
    """
    said = f"{name} needs {missing}, which is not installed: pip install 'kai-tracing-core[{extra}]'\n"
    assert _run(program, missing) == said


def test_something_else_is_missing() -> None:
    """A package that no extra of ours brings is told as Python tells it."""
    program = """
        try:
            from kai_tracing_core.http import api_client
        except ModuleNotFoundError as error:
            print(error.name)
    """
    assert _run(program, "h11") == "h11\n"


def test_ready_clients() -> None:
    """`api_client` and `async_api_client` are ready without a call, and use the default service."""
    from kai_tracing_core.http import ApiClient, AsyncApiClient, api_client, async_api_client

    assert isinstance(api_client, ApiClient)
    assert isinstance(async_api_client, AsyncApiClient)
