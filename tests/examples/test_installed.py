"""A third-party package, built as a wheel and installed, is chosen by environment variables alone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.distributions import add_distribution

PROGRAM = """
from kai_tracing_core import tracing

for number in range(6):
    with tracing.span("parent", attributes={"number": number}):
        with tracing.span("child"):
            pass
"""


def run(command: list[str], directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command in `directory` with nothing in its environment but this."""
    base = {"PATH": os.environ["PATH"], "HOME": str(directory), "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=directory, env={**base, **environ}, capture_output=True, text=True, timeout=60, check=False
    )


def program(installed: Path, directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program above."""
    return run([str(installed / "python"), "-c", PROGRAM], directory, **environ)


def lines(directory: Path) -> list[dict[str, object]]:
    """What the provider wrote."""
    return [json.loads(line) for line in (directory / "spans.jsonl").read_text().splitlines()]


@pytest.mark.timeout(600)
def test_chosen_by_type(installed: Path, tmp_path: Path) -> None:
    """TRACING_TYPE chooses the provider; its spans are in the file when the process has ended by itself."""
    done = program(installed, tmp_path, TRACING_TYPE="jsonlines", TRACING_SERVICE_NAME="shop")
    assert (done.returncode, done.stderr) == (0, "")
    spans = lines(tmp_path)
    assert [span["name"] for span in spans] == ["child", "parent"] * 6
    assert spans[0]["parent_id"] == spans[1]["span_id"]
    assert {span["service"] for span in spans} == {"shop"}


def test_section(installed: Path, tmp_path: Path) -> None:
    """The provider's section comes from the environment and from the file, and a typo in it is an error."""
    (tmp_path / "tracing.toml").write_text('type = "jsonlines"\n[jsonlines]\npath = "other.jsonl"\nmax_bytes = 1\n')
    done = program(installed, tmp_path, TRACING_JSONLINES__MAX_BYTES="100000")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "other.jsonl").read_text().splitlines()) == 12
    done = program(installed, tmp_path, TRACING_JSONLINES__PAHT="x")
    assert done.returncode == 1
    assert "TRACING_JSONLINES__PAHT" in done.stderr
    assert "Did you mean TRACING_JSONLINES__PATH?" in done.stderr


def test_sampler(installed: Path, tmp_path: Path) -> None:
    """TRACING_SAMPLER chooses the package's sampler and hands it its argument."""
    sampler = {"TRACING_TYPE": "jsonlines", "TRACING_SAMPLER": "every_nth"}
    done = program(installed, tmp_path, **sampler, TRACING_SAMPLER_ARG="3")
    assert done.returncode == 0, done.stderr
    assert [span["attributes"] for span in lines(tmp_path) if span["name"] == "parent"] == [
        {"number": 0},
        {"number": 3},
    ]
    done = program(installed, tmp_path, **sampler, TRACING_SAMPLER_ARG="none")
    assert "TRACING_SAMPLER_ARG = 'none' (environment variable TRACING_SAMPLER_ARG)" in done.stderr
    assert "sampler 'every_nth' of kai-tracing-jsonlines 0.1.0" in done.stderr


def test_not_installed(installed: Path, tmp_path: Path) -> None:
    """A provider that is not installed: the error lists what is, and says how to install it."""
    done = program(installed, tmp_path, TRACING_TYPE="zipkin")
    assert done.returncode == 1
    assert "Installed: jsonlines, noop." in done.stderr
    assert 'pip install "kai-tracing-core[zipkin]"' in done.stderr
    assert "Did you mean jsonlines?" in program(installed, tmp_path, TRACING_TYPE="jsonline").stderr


def test_noop_is_built_in(installed: Path, tmp_path: Path) -> None:
    """Without TRACING_TYPE, and with `noop`, the program runs silently and leaves nothing behind."""
    for environ in ({}, {"TRACING_TYPE": "noop"}):
        done = program(installed, tmp_path, **environ)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "spans.jsonl").exists()


def test_broken_neighbour(installed: Path, tmp_path: Path) -> None:
    """A broken distribution does no harm, until it is chosen: then the error names it and the cause."""
    site = add_distribution(
        tmp_path / "site",
        "kai-tracing-broken",
        {
            "kai_tracing.providers": {"broken": "kai_tracing_broken"},
            "kai_tracing.plugins": {"extra": "kai_tracing_gone"},
        },
        modules={"kai_tracing_broken": "import a_module_that_is_not_there\n"},
    )
    done = program(installed, tmp_path, TRACING_TYPE="jsonlines", PYTHONPATH=str(site))
    assert done.returncode == 0
    assert "plugin 'extra' of kai-tracing-broken 1.0 cannot be imported: ModuleNotFoundError" in done.stderr
    assert len(lines(tmp_path)) == 12
    done = program(installed, tmp_path, TRACING_TYPE="broken", PYTHONPATH=str(site))
    assert done.returncode == 1
    assert "provider 'broken' of kai-tracing-broken 1.0 cannot be imported: ModuleNotFoundError" in done.stderr
    assert "a_module_that_is_not_there" in done.stderr


def test_command_line(installed: Path, tmp_path: Path) -> None:
    """`kai-tracing` names the package, its settings with their sources, and finds that it works."""
    kai_tracing = str(installed / "kai-tracing")
    environ = {"TRACING_TYPE": "jsonlines", "TRACING_SERVICE_NAME": "shop"}
    assert "kai-tracing-jsonlines 0.1.0" in run([kai_tracing, "providers"], tmp_path, **environ).stdout
    shown = json.loads(run([kai_tracing, "settings", "--json"], tmp_path, **environ).stdout)
    assert shown["jsonlines.path"] == {
        "variable": "TRACING_JSONLINES__PATH",
        "value": "spans.jsonl",
        "source": "default",
    }
    done = run([kai_tracing, "doctor"], tmp_path, **environ)
    assert done.returncode == 0, done.stdout
    assert [span["name"] for span in lines(tmp_path)] == ["kai-tracing doctor"] * 2  # one of them from a forked child


@pytest.mark.timeout(600)
def test_its_own_tests(installed: Path, tmp_path: Path) -> None:
    """The package's own tests, with the contract suites of providers and samplers, pass where it is installed."""
    tests = Path(__file__).parents[2] / "examples" / "jsonlines_provider" / "tests"
    command = [str(installed / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, str(tests)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
