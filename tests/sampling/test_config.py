"""Samplers as data: the short form, tables, OpenTelemetry's names, and what is said of mistakes."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from kai_tracing_core.errors import ConfigurationError
from kai_tracing_core.initializer import create
from kai_tracing_core.provider import RecordingProvider
from kai_tracing_core.sampling.base import Sampler
from kai_tracing_core.sampling.config import BUILT_IN, SamplerContext, create_sampler
from kai_tracing_core.sampling.plain import create_plain
from kai_tracing_core.sampling.ratio import TraceIdRatio
from kai_tracing_core.sampling.tail import Tail
from kai_tracing_core.sampling.tail_processor import TailProcessor
from kai_tracing_core.settings import TracingSettings

from .asking import ask, keeps


@pytest.mark.parametrize(
    ("short", "description"),
    [
        ("always_on", "AlwaysOn"),
        ("always_off", "AlwaysOff"),
        ("traceidratio:0.25", "TraceIdRatioBased{0.25}"),
        ("traceidratio", "TraceIdRatioBased{1.0}"),
        ("ratio:0.1", "ParentBased{root=ConsistentProbability{0.1}}"),
        ("consistent_probability:0.1", "ParentBased{root=ConsistentProbability{0.1}}"),
        ("parent_based", "ParentBased{root=AlwaysOn}"),
        ("parent_based:rate_limiting:5", "ParentBased{root=RateLimiting{5/s}}"),
        ("rate_limiting:0.1", "ParentBased{root=RateLimiting{0.1/s}}"),
        ("adaptive:2", "ParentBased{root=Adaptive{2/s per operation}}"),
        (
            "rules:GET /health*=always_off;*=ratio:0.1",
            "ParentBased{root=Rules{GET /health*: AlwaysOff, *: ConsistentProbability{0.1}, else AlwaysOn}}",
        ),
        ("parentbased_always_on", "ParentBased{root=AlwaysOn}"),
        ("parentbased_always_off", "ParentBased{root=AlwaysOff}"),
        ("parentbased_traceidratio:0.5", "ParentBased{root=TraceIdRatioBased{0.5}}"),
        ("parentbased_traceidratio", "ParentBased{root=TraceIdRatioBased{1.0}}"),
        (
            "jaeger_remote:endpoint=http://localhost:5778,pollingIntervalMs=5000,initialSamplingRate=0.25",
            "Remote{http://localhost:5778/sampling, now ConsistentProbability{0.25}}",
        ),
        (
            "parentbased_jaeger_remote",
            "ParentBased{root=Remote{http://localhost:5778/sampling, now ConsistentProbability{0.001}}}",
        ),
        (
            "remote:http://c/api/sampling",
            "ParentBased{root=Remote{http://c/api/sampling, now ConsistentProbability{0.001}}}",
        ),
        ("tail:error,rate=5", "Tail{Or, head=ParentBased{root=ConsistentProbability{1.0}}}"),
    ],
)
def test_short_forms(short: str, description: str) -> None:
    """Every name, with the argument that `TRACING_SAMPLER_ARG` and `OTEL_TRACES_SAMPLER_ARG` give it."""
    assert create_sampler(short).description == description
    name, _, argument = short.partition(":")
    assert create_sampler(name, argument).description == description


def test_tables_nest() -> None:
    """Everything at once: rules over samplers with options, under explicit branches, and a tail over that."""
    sampler = create_sampler(
        {
            "type": "tail",
            "policies": [
                "error",
                {"type": "and", "policies": [{"type": "latency", "threshold": 1}, {"type": "not", "policy": "error"}]},
                {"type": "attribute", "key": "tier", "value": "gold*"},
                {"type": "latency", "percentile": 99},
            ],
            "max_spans": 10,
            "decision_channel": "http://127.0.0.1:9/decisions",
            "head": {
                "type": "parent_based",
                "root": {
                    "type": "rules",
                    "rules": [{"kind": "server", "sampler": {"type": "adaptive", "target": 1, "window": 2}}],
                    "default": {"type": "rate_limiting", "rate": 1, "burst": 3},
                },
                "remote_parent_not_sampled": "traceidratio:0.5",
            },
        }
    )
    assert isinstance(sampler, Tail)
    assert sampler.options.max_spans == 10
    assert sampler.channel is not None
    assert "remote_parent_not_sampled=TraceIdRatioBased{0.5}" in sampler.description


def test_follow_parent_overrides_the_default() -> None:
    """Any sampler may follow parents or not, whatever it does by default where it stands."""
    assert create_sampler({"type": "traceidratio", "follow_parent": True}).description.startswith("ParentBased")
    assert create_sampler({"type": "ratio", "follow_parent": False}).description == "ConsistentProbability{1.0}"


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("ratio:2", "sampler.probability: Input should be less than or equal to 1"),
        ("ratio:lots", "sampler.probability: Input should be a valid number"),
        ("ratio:nan", "sampler.probability"),
        ("rate_limiting", "sampler.rate: Field required"),
        ("rtio:1", "Did you mean ratio?"),
        ("always_on:3", "sampler.argument: Extra inputs are not permitted"),
        ("tail:bogus", "sampler.policies[0]: 'bogus' is none of error, latency, rate, probability"),
        ("remote:endpoint=ftp://x", "http or https"),
        (
            {"type": "rules", "rules": [{"name": "x", "sampler": {"type": "ratio", "probability": 7}}]},
            "sampler.rules[0].sampler.probability: Input should be less than or equal to 1 (given: 7)",
        ),
        ({"type": "rules", "rules": [{"nam": "x", "sampler": "always_on"}]}, "sampler.rules[0].nam"),
        ({"type": "tail", "policies": [{"type": "latency"}]}, "sampler.policies[0]: either threshold"),
        ({"type": "rules", "rules": [{"sampler": "tail"}]}, "tail sampling decides last"),
        ({"rules": []}, "sampler.type: Field required"),
    ],
)
def test_mistakes_are_told_with_the_path_of_the_field(description: Any, said: str) -> None:
    """The message has the path as the user wrote it, the reason, and the value."""
    with pytest.raises(ConfigurationError) as caught:
        create_sampler(description)
    assert said in str(caught.value)


def test_samplers_of_other_packages_nest_too() -> None:
    """A name that is not built in goes, with its argument, to whoever knows it."""
    asked = []

    def plugin(name: str, argument: str | None) -> Sampler:
        asked.append((name, argument))
        return TraceIdRatio(1.0)

    context = SamplerContext(plugin=plugin)
    create_sampler({"type": "parent_based", "root": "theirs:5"}, context=context)
    create_sampler({"type": "rules", "rules": [{"sampler": {"type": "theirs"}}]}, context=context)
    assert asked == [("theirs", "5"), ("theirs", None)]


def test_every_name_is_an_entry_point() -> None:
    """The built-in samplers are found as another package's are."""
    found = {entry.name: entry.load() for entry in entry_points(group="kai_tracing.samplers")}
    assert set(BUILT_IN) <= set(found)
    assert [name for name in BUILT_IN if not callable(found[name])] == []


def test_settings_choose_the_sampler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From `TRACING_SAMPLER`, from OpenTelemetry's variables, and from the settings file, tail sampling included."""
    monkeypatch.chdir(tmp_path)

    def provider() -> RecordingProvider:
        made = create(TracingSettings(type="inmemory"))
        assert isinstance(made, RecordingProvider)
        return made

    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    assert provider().config.sampler.description == "ParentBased{root=TraceIdRatioBased{0.5}}"
    monkeypatch.setenv("TRACING_SAMPLER", "rules")
    monkeypatch.setenv("TRACING_SAMPLER_ARG", "GET /health*=always_off")
    sampler = provider().config.sampler
    assert not keeps(ask(sampler, name="GET /health"))
    assert keeps(ask(sampler, name="GET /cart"))
    for name in ("TRACING_SAMPLER", "TRACING_SAMPLER_ARG", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"):
        monkeypatch.delenv(name)
    (tmp_path / "tracing.toml").write_text('[sampler]\ntype = "tail"\npolicies = ["error"]\nhead = "ratio:0.5"\n')
    made = provider()
    assert made.config.sampler.description == "Tail{Or, head=ParentBased{root=ConsistentProbability{0.5}}}"
    assert isinstance(made.pipeline.sink, TailProcessor)
    with made.span("dropped"):
        pass
    stats = made.stats()
    assert stats.unsampled + stats.dropped.get("tail_sampled", 0) == stats.started == 1
    made.shutdown(1)


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in {"rules", "remote", "tail", "parent_based"}])
@pytest.mark.parametrize("argument", ["", "0", "0.5", "1", "7", "-1", "nan", "inf", "much"])
def test_plain_ones_are_the_same(name: str, argument: str) -> None:
    """What a name and a number describe is made without the models, and is what they make; or else is left to them."""
    plain = create_plain(name, argument)
    if plain is None:
        return
    expected = create_sampler(name, argument)
    assert (type(plain), plain.description) == (type(expected), expected.description)


@pytest.mark.parametrize(("name", "argument"), [("parentbased_always_on", ""), ("ratio", "0.1"), ("adaptive", "5")])
def test_plain_ones_import_no_pydantic(name: str, argument: str) -> None:
    """Starting with one of them does not import the models, nor pluggy or importlib.metadata."""
    program = (
        "import sys\n"
        "from kai_tracing_core import initialize_tracing, plugins\n"
        "plugins.find = lambda kind, find=plugins.find: [] if kind == 'plugins' else find(kind)\n"
        f"initialize_tracing(type='inmemory', sampler={name!r}, sampler_arg={argument or None!r})\n"
        "heavy = {'pydantic', 'pluggy', 'importlib.metadata', 'email', 'concurrent.futures'}\n"
        "print(heavy & set(sys.modules) or 'none')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("none\n", 0), done.stderr
