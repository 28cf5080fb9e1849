"""The commands' way to the backend: what it says when there is none, or another, or no leave to ask."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from kai_tracing_backend.cli import COMMANDS
from kai_tracing_backend.cli.client import ApiClient, with_client
from kai_tracing_backend.cli.output import clean

from tests.support.backend import free_ports, running


@contextmanager
def answering(status: int, body: bytes, delay: threading.Event | None = None) -> Iterator[str]:
    """The address of a server that always says the same, `delay`ed until the event is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if delay is not None:
                delay.wait(30)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError):  # who asked did not wait
                self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        if delay is not None:
            delay.set()
        server.shutdown()
        thread.join()
        server.server_close()


def said(url: str, **options: object) -> str:
    """What the client says when it cannot have the answer."""
    with ApiClient(url, **options) as client, pytest.raises(click.ClickException) as caught:
        client.get("/api/v1/services")
    return caught.value.message


def test_an_answer_is_the_documents_json(tmp_path: Path) -> None:
    """From a real backend."""
    with running(tmp_path) as backend, ApiClient(f"http://127.0.0.1:{backend.settings.api_port}/") as client:
        assert client.get("/api/v1/services", start=None) == {"services": [], "cursor": None}
        with client.stream("GET", "/api/v1/services") as response:
            assert response.read() == b'{"services":[],"cursor":null}'


def test_what_the_backend_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    """The API's own error messages reach the terminal; an unknown path is another version."""
    with running(tmp_path) as backend, ApiClient(f"http://127.0.0.1:{backend.settings.api_port}") as client:
        with pytest.raises(click.ClickException, match="a trace id has 1 to 32 hexadecimal digits"):
            client.get("/api/v1/traces/xyz")
        with pytest.raises(click.ClickException, match="does not know /api/v1/nothing: the answer is 404"):
            client.get("/api/v1/nothing")
        with (
            pytest.raises(click.ClickException, match="does not know /api/v1/nothing"),
            client.stream("GET", "/api/v1/nothing"),
        ):
            pass


def test_where_nobody_answers_it_says_how_to_start_one() -> None:
    """Both ways out: start it, or say where it is."""
    message = said(f"http://127.0.0.1:{free_ports(1)[0]}")
    assert "kai-tracing serve" in message
    assert "TRACING_BACKEND_URL" in message


def test_a_slow_answer_names_the_option() -> None:
    """`--timeout` is what helps."""
    with answering(200, b"{}", threading.Event()) as url:
        assert "within 0.1 s; --timeout" in said(url, timeout=0.1)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b'{"error": "the token has expired"}', "wants a token: the token has expired. Say it with --token"),
        (403, b'{"error": "the token lacks the scope admin"}', "the token lacks the scope admin"),
        (200, b"<html>", "what answers is no JSON"),
        (404, b"<html>", "does not know /api/v1/services: the answer is 404"),
        (502, b"", "the answer is 502"),
        (503, b'{"error": "the store is closed"}', "the store is closed"),
    ],
)
def test_errors_say_what_to_do(status: int, body: bytes, expected: str) -> None:
    """Each kind of error in its own words, never a traceback."""
    with answering(status, body) as url:
        assert expected in said(url)


def test_another_protocol_is_said() -> None:
    """HTTP asked of HTTPS or the other way round, and what is no address at all."""
    with answering(200, b"{}") as url:
        assert "cannot be trusted: it does not speak TLS. Is it http://" in said(url.replace("http", "https"))
    for wrong in ("127.0.0.1:16686", "ftp://x", "http://"):
        with pytest.raises(click.ClickException, match="TRACING_BACKEND_URL"):
            ApiClient(wrong)


def test_a_bad_file_of_certificates_names_its_option(tmp_path: Path) -> None:
    """Instead of OpenSSL's words."""
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(click.ClickException, match="TRACING_BACKEND_CA"):
        ApiClient("https://127.0.0.1:1", ca=tmp_path / "ca.pem")


def test_options_reach_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the command line or the environment."""

    @click.command()
    @click.argument("path")
    @with_client
    def look(client: ApiClient, path: str) -> None:
        click.echo(f"{client.url} {path}")

    monkeypatch.setenv("TRACING_BACKEND_URL", "http://there:1")
    assert CliRunner().invoke(look, ["x"]).output == "http://there:1 x\n"
    assert CliRunner().invoke(look, ["x", "--url", "http://here:2/"]).output == "http://here:2 x\n"
    assert "TRACING_BACKEND_TOKEN" in CliRunner().invoke(look, ["x", "--token", "ü"]).output


def test_help_needs_nothing_heavy() -> None:
    """`kai-tracing --help` shows all commands without importing the server, the store, the client or rich.

    Nor does the help of any of them, but that of `serve`, whose options are the settings.
    """
    heavy = ("duckdb", "fastapi", "httpx", "pyarrow", "pydantic", "rich", "uvicorn", "opentelemetry.proto")
    source = f"""
import sys
import click
from click.testing import CliRunner
from kai_tracing_backend.cli import COMMANDS
group = click.Group(commands=COMMANDS)
arguments = [["--help"], *([command.name, "--help"] for command in COMMANDS if command.name != "serve")]
for asked in arguments:
    done = CliRunner().invoke(group, asked)
    assert done.exit_code == 0, done.output
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
    assert "serve" in [command.name for command in COMMANDS]


def test_what_senders_say_cannot_move_the_cursor() -> None:
    """Escape sequences, line ends and marks that turn the reading direction are shown as what cannot be shown."""
    assert clean("a\x1b[31mb\nc\u202ed\x9b") == "a�[31mb�c�d�"
    assert clean("grüße 漢字 🙂") == "grüße 漢字 🙂"
