"""A real Zipkin, a real Jaeger and our backend on free ports of this machine, and what their query APIs tell."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import urllib3
from kai_tracing_backend.settings import BackendSettings, option
from typing_extensions import Self

from tests.support.backend import free_ports

T = TypeVar("T")

STRATEGIES: dict[str, Any] = {
    "default_strategy": {
        "type": "probabilistic",
        "param": 0.25,
        "operation_strategies": [{"operation": "/health", "type": "probabilistic", "param": 0.0}],
    },
    "service_strategies": [
        {"service": "half", "type": "probabilistic", "param": 0.5},
        {"service": "limited", "type": "ratelimiting", "param": 3},
        {
            "service": "by operation",
            "type": "probabilistic",
            "param": 0.75,
            "operation_strategies": [
                {"operation": "GET /", "type": "probabilistic", "param": 0.125},
                {"operation": "/health", "type": "probabilistic", "param": 1.0},
            ],
        },
    ],
}
"""Sampling strategies in Jaeger's format: one of every kind."""

_START_SECONDS = 120.0
_STORE_SECONDS = 30.0
_START_ATTEMPTS = 3
_HTTP = urllib3.PoolManager(retries=False, timeout=10.0)


def get(url: str, **query: str) -> Any:
    """What the JSON at `url` says; None where there is nothing (404)."""
    response = _HTTP.request("GET", url, fields=query)
    if response.status == 404:
        return None
    assert response.status == 200, f"{url}: {response.status} {response.data[:500]!r}"
    return response.json()


class Server:
    """A server process for `with`. A subclass says which ports it needs, how it starts and where it is ready."""

    ports: Sequence[str]

    def __init__(self, program: Path, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self.port: dict[str, int] = {}

    def command(self) -> Sequence[str]:
        """The command that starts it on `self.port`."""
        raise NotImplementedError  # each server has its own

    def health(self) -> str:
        """The URL that answers 200 once it is ready."""
        raise NotImplementedError  # each server has its own

    def __enter__(self) -> Self:
        for _ in range(_START_ATTEMPTS):
            self.port = dict(zip(self.ports, free_ports(len(self.ports)), strict=True))
            with (self._directory / "server.log").open("wb") as log:
                self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self._directory)
            if self._ready():
                return self
            self._stop()  # somebody took a port in the meantime
        log_end = (self._directory / "server.log").read_text("utf-8", "replace")[-3000:]
        raise RuntimeError(f"{self._program} did not start:\n{log_end}")

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def _ready(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                if _HTTP.request("GET", self.health()).status == 200:
                    return True
            except urllib3.exceptions.HTTPError:
                pass
            time.sleep(0.2)
        return False

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_for(self, count: int, read: Any) -> list[Any]:
        """What `read` gives, as soon as it is `count` items; servers store a little later than they answer."""
        deadline = time.monotonic() + _STORE_SECONDS
        while len(found := read()) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(found) == count, f"{len(found)} of {count} spans: {json.dumps(found, indent=1)[:5000]}"
        return list(found)


class Zipkin(Server):
    """Zipkin with its spans in memory."""

    ports = ("http",)

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port['http']}"

    def command(self) -> Sequence[str]:
        # As a whole, since one indexed property replaces the list: this is the only way to listen on localhost alone.
        listen = {"ip": "127.0.0.1", "port": self.port["http"], "protocols[0]": "http"}
        properties = [f"--armeria.ports[0].{name}={value}" for name, value in listen.items()]
        return ["java", "-Xmx256m", "-jar", str(self._program), *properties]

    def health(self) -> str:
        return f"{self.url}/health"

    def trace(self, trace_id: str, count: int) -> list[Mapping[str, Any]]:
        """The `count` spans of a trace, as `/api/v2/trace` shows them."""
        return self.wait_for(count, lambda: get(f"{self.url}/api/v2/trace/{trace_id}") or [])


class Jaeger(Server):
    """Jaeger v2 with its spans in memory and every receiver that it has for us."""

    ports = (
        *("query", "query_grpc", "otlp_http", "otlp_grpc", "thrift_http", "compact", "binary", "zipkin", "health"),
        *("sampling", "sampling_grpc"),
    )

    @property
    def url(self) -> str:
        """Where its query API is."""
        return f"http://127.0.0.1:{self.port['query']}"

    def command(self) -> Sequence[str]:
        self.strategies.write_text(json.dumps(STRATEGIES))
        config = self._directory / "jaeger.json"
        config.write_text(json.dumps(self._config()))
        return [str(self._program), "--config", str(config)]

    @property
    def strategies(self) -> Path:
        """The file of the sampling strategies that it serves."""
        return self._directory / "strategies.json"

    def health(self) -> str:
        return f"http://127.0.0.1:{self.port['health']}/status"

    def spans(self, trace_id: str, count: int) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """The `count` spans of a trace as `/api/v3/traces` shows them (OTLP's JSON), each behind its resource."""
        return self.wait_for(count, lambda: list(self._spans(trace_id)))

    def _spans(self, trace_id: str) -> Any:
        answer = get(f"{self.url}/api/v3/traces/{trace_id}") or {"result": {}}
        for of_resource in answer["result"].get("resourceSpans", ()):
            for of_scope in of_resource["scopeSpans"]:
                for span in of_scope["spans"]:
                    yield of_resource.get("resource", {}), span

    def _config(self) -> dict[str, Any]:
        at = {name: {"endpoint": f"127.0.0.1:{port}"} for name, port in self.port.items()}
        thrift = {"thrift_http": at["thrift_http"], "thrift_compact": at["compact"], "thrift_binary": at["binary"]}
        return {
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query", "remote_sampling", "healthcheckv2"],
                "pipelines": {
                    "traces": {
                        "receivers": ["otlp", "jaeger", "zipkin"],
                        "exporters": ["jaeger_storage_exporter"],
                    }
                },
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            },
            "extensions": {
                "jaeger_query": {"storage": {"traces": "memory"}, "http": at["query"], "grpc": at["query_grpc"]},
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 10_000}}}},
                "remote_sampling": {
                    "file": {"path": str(self.strategies)},
                    "http": at["sampling"],
                    "grpc": at["sampling_grpc"],
                },
                "healthcheckv2": {"use_v2": True, "http": at["health"]},
            },
            "receivers": {
                "otlp": {"protocols": {"grpc": at["otlp_grpc"], "http": at["otlp_http"]}},
                "jaeger": {"protocols": thrift},
                "zipkin": at["zipkin"],
            },
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        }


class Backend(Server):
    """`kai-tracing serve` with every receiver."""

    ports = tuple(BackendSettings.ports())

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port['api_port']}"

    def command(self) -> Sequence[str]:
        options = (word for name, port in self.port.items() for word in (option(name), str(port)))
        return [str(self._program), "serve", option("data"), str(self._directory / "data"), *options]

    def health(self) -> str:
        return f"{self.url}/readyz"

    def spans(self, trace_id: str, count: int) -> list[Mapping[str, Any]]:
        """The `count` spans of a trace as `/api/v1/traces` shows them."""
        return self.wait_for(count, lambda: (get(f"{self.url}/api/v1/traces/{trace_id}") or {"spans": []})["spans"])
