"""`kai-tracing`, as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner

from kai_tracing_core import plugins
from kai_tracing_core.cli.app import cli
from tests.support.distributions import add_distribution
from tests.support.server import FaultServer

_COMMAND = Path(sys.executable).parent / "kai-tracing"


@pytest.fixture
def zipkin() -> Iterator[str]:
    """The address of a server that takes every span."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/v2/spans"
    server.shutdown()
    thread.join()
    server.server_close()


class Runner:
    """Runs the command in an empty directory, with nothing of ours in the environment but what is given."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        base = {**measured, "PATH": os.environ["PATH"], "COLUMNS": "160", "PYTHONPATH": str(self.directory / "site")}
        return subprocess.run(
            [str(_COMMAND), *arguments],
            cwd=self.directory,
            env={**base, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def kai_tracing(tmp_path: Path) -> Runner:
    """The command."""
    return Runner(tmp_path)


def test_help(kai_tracing: Runner) -> None:
    """The commands are listed, and the version is that of the distribution."""
    done = kai_tracing("--help")
    assert done.returncode == 0
    for command in ("providers", "samplers", "propagators", "settings", "doctor"):
        assert f"\n  {command} " in done.stdout
    assert kai_tracing("--version").stdout.startswith("kai-tracing, version ")
    assert kai_tracing("no-such").returncode == 2


def test_help_imports_little() -> None:
    """Help and a built-in command's help import neither rich nor pydantic."""
    source = """
import sys
from click.testing import CliRunner
from kai_tracing_core.cli.app import cli
assert CliRunner().invoke(cli, ["doctor", "--help"]).exit_code == 0
print([name for name in ("rich", "pydantic", "pluggy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("command", "variable", "value", "other"),
    [
        ("providers", "TRACING_TYPE", "zipkin", "jaeger"),
        ("samplers", "TRACING_SAMPLER", "ratio", "always_on"),
        ("propagators", "TRACING_PROPAGATORS", "b3", "tracecontext"),
    ],
)
def test_lists(kai_tracing: Runner, command: str, variable: str, value: str, other: str) -> None:
    """Everything that is installed, with its distribution, the chosen one marked."""
    done = kai_tracing(command, **{variable: value})
    rows = {row.replace("●", "").split()[0]: row for row in done.stdout.splitlines() if " ok" in row}
    assert "●" in rows[value]
    assert "●" not in rows[other]
    assert "kai-tracing-" in rows[other]


def test_broken_provider_is_listed(kai_tracing: Runner, tmp_path: Path) -> None:
    """One that cannot be imported is listed with the cause, the others as ever; wrong settings are no obstacle."""
    points = {"kai_tracing.providers": {"bad": "made_up_bad"}}
    add_distribution(tmp_path / "site", "made-up", points, modules={"made_up_bad": "raise OSError('[no] licence')"})
    done = kai_tracing("providers", TRACING_TYP="x")
    (row,) = [row for row in done.stdout.splitlines() if "made-up 1.0" in row]
    assert "broken:" in row
    assert "[no] licence" in row
    assert "kai-tracing-zipkin" in done.stdout
    assert "Did you mean TRACING_TYPE?" in done.stderr


def test_sampler_from_the_file(kai_tracing: Runner, tmp_path: Path) -> None:
    """A sampler that is a table in the file is marked by its type."""
    (tmp_path / "tracing.toml").write_text('[sampler]\ntype = "rules"\nrules = []')
    (row,) = [row for row in kai_tracing("samplers").stdout.splitlines() if "●" in row]
    assert " rules " in row


def test_settings(kai_tracing: Runner, tmp_path: Path) -> None:
    """Every value with its source, the chosen provider's section included, and no secret."""
    (tmp_path / "tracing.toml").write_text('service_name = "shop"')
    environ = {
        "TRACING_TYPE": "zipkin",
        "TRACING_ZIPKIN__HEADERS": "authorization=hunter2",
        "TRACING_ZIPKIN__ENDPOINT": "http://ann:hunter2@zipkin:9411/api/v2/spans",
        "OTEL_BSP_SCHEDULE_DELAY": "250",
    }
    done = kai_tracing("settings", "--json", **environ)
    shown = json.loads(done.stdout)
    assert shown["service_name"]["source"] == str(tmp_path / "tracing.toml")
    assert shown["batch.delay"] == {
        "variable": "TRACING_BATCH__DELAY",
        "value": 0.25,
        "source": "environment variable OTEL_BSP_SCHEDULE_DELAY",
    }
    assert shown["zipkin.headers"]["value"] == {"authorization": "[REDACTED]"}
    assert shown["zipkin.endpoint"]["value"] == "http://[REDACTED]@zipkin:9411/api/v2/spans"
    table = kai_tracing("settings", **environ).stdout
    assert "TRACING_ZIPKIN__GZIP" in table
    assert "hunter2" not in table + done.stdout


def test_settings_that_are_wrong(kai_tracing: Runner) -> None:
    """A wrong setting is one line and exit code 1; what can be shown is shown."""
    done = kai_tracing("settings", TRACING_BATCH__DELAY="soon")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: batch.delay = 'soon' (environment variable TRACING_BATCH__DELAY)")
    done = kai_tracing("settings", TRACING_TYPE="zipkn")
    assert done.returncode == 1
    assert "TRACING_BATCH__DELAY" in done.stdout
    assert "Did you mean zipkin?" in done.stderr


def test_plugin_command(kai_tracing: Runner, tmp_path: Path) -> None:
    """A plugin adds a command; one that fails to is logged and does no harm."""
    module = """
    import click
    from kai_tracing_core import hookimpl

    @hookimpl
    def kai_tracing_register_commands(cli):
        @cli.command()
        def greet():
            "Say hello."
            click.echo("hello")
    """
    site = tmp_path / "site"
    points = {"kai_tracing.plugins": {"greet": "made_up_greet"}}
    add_distribution(site, "made-up", points, modules={"made_up_greet": module})
    bad = "from kai_tracing_core import hookimpl\n@hookimpl\ndef kai_tracing_register_commands(cli): 1 / 0\n"
    add_distribution(site, "bad", {"kai_tracing.plugins": {"bad": "made_up_bad"}}, modules={"made_up_bad": bad})
    assert "Say hello." in kai_tracing("--help").stdout
    assert kai_tracing("greet").stdout == "hello\n"


class TestDoctor:
    """`kai-tracing doctor`: what it finds, and its exit code."""

    def test_healthy(self, kai_tracing: Runner, zipkin: str) -> None:
        """With a backend that answers every check passes, from a forked child, too."""
        done = kai_tracing(
            "doctor", TRACING_TYPE="zipkin", TRACING_SERVICE_NAME="shop", TRACING_ZIPKIN__ENDPOINT=zipkin
        )
        assert done.returncode == 0, done.stdout
        assert {line[0] for line in done.stdout.splitlines() if not line.startswith(" ")} == {"✓"}
        for finding in (
            "provider: zipkin, of kai-tracing-zipkin",
            "delivery: a test span was taken",
            "fork:",
            "versions:",
        ):
            assert finding in done.stdout

    def test_sampled_away(self, kai_tracing: Runner, zipkin: str) -> None:
        """The test span is sent whatever the sampler says."""
        done = kai_tracing(
            "doctor", TRACING_TYPE="zipkin", TRACING_ZIPKIN__ENDPOINT=zipkin, TRACING_SAMPLER="always_off"
        )
        assert "✓ delivery" in done.stdout

    def test_backend_down(self, kai_tracing: Runner) -> None:
        """With nobody there the span's loss is reported with its cause and address, exit code 1."""
        done = kai_tracing("doctor", TRACING_TYPE="zipkin", TRACING_ZIPKIN__ENDPOINT="http://127.0.0.1:9/api/v2/spans")
        assert done.returncode == 1
        assert "✗ delivery: the test span did not arrive (unreachable: 1)" in done.stdout
        assert "http://127.0.0.1:9/api/v2/spans" in done.stdout
        assert done.stderr == ""

    def test_wrong_token(self, kai_tracing: Runner) -> None:
        """A backend that wants a token is there: what is asked is whether a right one was sent."""
        with FaultServer(then=401) as server:
            endpoint = f"{server.url}/api/v2/spans"
            done = kai_tracing("doctor", TRACING_TYPE="zipkin", TRACING_ZIPKIN__ENDPOINT=endpoint)
        assert done.returncode == 1
        assert f"1 span dropped (http_401): {endpoint} answered 401 Unauthorized. Is there a token" in done.stdout

    def test_nothing_configured(self, kai_tracing: Runner) -> None:
        """Without TRACING_TYPE nothing is wrong, but nothing is recorded, which is said."""
        done = kai_tracing("doctor")
        assert done.returncode == 0
        assert "! nothing is recorded: the provider is noop" in done.stdout

    def test_disabled(self, kai_tracing: Runner, zipkin: str) -> None:
        """That tracing is off is said, with the variable that says so."""
        done = kai_tracing("doctor", TRACING_TYPE="inmemory", OTEL_SDK_DISABLED="true")
        assert "! tracing is disabled" in done.stdout
        assert "environment variable OTEL_SDK_DISABLED" in done.stdout

    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({"TRACING_TYP": "x"}, "✗ settings: environment variable TRACING_TYP"),
            ({"TRACING_TYPE": "zipkn"}, "✗ provider: TRACING_TYPE = 'zipkn'"),
            ({"TRACING_TYPE": "zipkin", "TRACING_ZIPKIN__GZPI": "1"}, "Did you mean TRACING_ZIPKIN__GZIP?"),
            ({"TRACING_TYPE": "inmemory", "TRACING_SAMPLER": "none"}, "✗ provider: TRACING_SAMPLER = 'none'"),
        ],
    )
    def test_wrong_settings(self, kai_tracing: Runner, environ: dict[str, str], expected: str) -> None:
        """A wrong setting is a finding; what does not depend on it is checked all the same."""
        done = kai_tracing("doctor", **environ)
        assert done.returncode == 1
        assert expected in done.stdout
        assert "✓ versions" in done.stdout

    def test_warnings(self, kai_tracing: Runner) -> None:
        """What is only warned about at start-up is among the findings."""
        done = kai_tracing("doctor", TRACING_TYPE="inmemory", OTEL_TRACES_SAMPLER="xray")
        assert done.returncode == 0
        assert "! environment variable OTEL_TRACES_SAMPLER is ignored" in done.stdout

    def test_version_conflict(self, kai_tracing: Runner, tmp_path: Path) -> None:
        """A requirement of a plugin that is not met: who wants what, what is there, how to mend it."""
        add_distribution(
            tmp_path / "site",
            "made-up",
            {"kai_tracing.providers": {"picky": "made_up"}},
            requires=(
                "no requirement !",
                "pluggy<0.1",
                "not-there-at-all>=2",
                "absent; extra == 'more'",
                "absent; python_version < '3'",
            ),
        )
        done = kai_tracing("doctor")
        assert done.returncode == 1
        assert "✗ versions: made-up 1.0 needs pluggy<0.1, but " in done.stdout
        assert 'pip install "pluggy<0.1"' in done.stdout
        assert "✗ versions: made-up 1.0 needs not-there-at-all>=2, which is not installed" in done.stdout
        assert "absent" not in done.stdout

    def test_provider_that_cannot_start(self, kai_tracing: Runner, tmp_path: Path) -> None:
        """What a provider raises when it is initialised is a finding; one that counts nothing is warned about."""
        module = """
        from kai_tracing_core.noop import NoopProvider

        class Failing(NoopProvider):
            def initialize(self):
                raise RuntimeError("no licence")
        """
        points = {"failing": "made_up:Failing", "silent": "kai_tracing_core.noop:NoopProvider"}
        add_distribution(tmp_path / "site", "made-up", {"kai_tracing.providers": points}, modules={"made_up": module})
        done = kai_tracing("doctor", TRACING_TYPE="failing")
        assert done.returncode == 1
        assert "✗ provider: failing cannot be started: RuntimeError: no licence" in done.stdout
        assert "! delivery: the provider does not count" in kai_tracing("doctor", TRACING_TYPE="silent").stdout

    def test_child_that_loses_its_span(self, kai_tracing: Runner, tmp_path: Path) -> None:
        """A provider that cannot deliver after a fork is a warning with what it said."""
        module = """
        from kai_tracing_core import RecordingProvider
        from kai_tracing_core.processing.processor import Rejected, SpanExporter

        class Exporter(SpanExporter):
            forked = False

            def after_fork(self):
                self.forked = True

            def export(self, spans, timeout):
                if self.forked:
                    raise Rejected("the licence is for one process", reason="licence")
                return 0

        class Provider(RecordingProvider):
            name = "alone"

            def create_exporter(self):
                return Exporter()
        """
        points = {"kai_tracing.providers": {"alone": "made_up_alone:Provider"}}
        add_distribution(tmp_path / "site", "made-up", points, modules={"made_up_alone": module})
        done = kai_tracing("doctor", TRACING_TYPE="alone")
        assert "! fork: a forked child's test span did not arrive" in done.stdout
        assert "the licence is for one process" in done.stdout

    def test_hanging_child(self, kai_tracing: Runner, tmp_path: Path) -> None:
        """A provider that hangs in a forked child is found out, and the child ended."""
        module = """
        import os, time
        from kai_tracing_core import RecordingProvider
        from kai_tracing_core.processing.processor import SpanExporter

        class Exporter(SpanExporter):
            def __init__(self):
                self.process = os.getpid()

            def export(self, spans, timeout):
                while os.getpid() != self.process:
                    time.sleep(60)
                return 0

        class Provider(RecordingProvider):
            name = "hanging"

            def create_exporter(self):
                return Exporter()

            def flush(self, timeout=30.0):
                return super().flush(600.0)
        """
        points = {"kai_tracing.providers": {"hanging": "made_up_hanging:Provider"}}
        add_distribution(tmp_path / "site", "made-up", points, modules={"made_up_hanging": module})
        done = kai_tracing("doctor", "--timeout", "0.2", TRACING_TYPE="hanging")
        assert done.returncode == 1
        assert "✗ fork: a forked child hangs" in done.stdout


def test_commands_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the backend is not installed, an unknown command says how its commands come; where it is, it does not."""
    for installed, said in (([], True), (["backend"], False)):
        monkeypatch.setattr(plugins, "names", lambda kind, installed=installed: installed)
        answer = CliRunner().invoke(cli, ["serv"])
        assert answer.exit_code == 2
        assert ('pip install "kai-tracing-core[backend]"' in answer.output) is said
