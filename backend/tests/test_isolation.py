"""No request of one tenant meets anything of another: asked of every route that there is.

The routes are read off the running applications. One that is new is asked without a token, with each scope and, if it
reads, for what another tenant has. A route that changes something must be in `CHANGES` below, and one that does not
answer a question that is put together from its path alone in `QUESTIONS`.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kai_tracing_backend.access.tokens import Scope, TokenFile
from kai_tracing_backend.app import Backend
from kai_tracing_backend.testing.store_contract import batch, span

from tests.support.backend import Answer, ask, running


def _rfc3339(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 10**9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


PUBLIC = {"/", "/api/v1/docs", "/api/v1/openapi.json", "/healthz", "/readyz"}
"""What nobody needs a token for."""

NOT_OF_A_TENANT = {
    *PUBLIC,
    "/metrics",
    "/api/v1/query/validate",
    "/api/echo",
    "/api/status/buildinfo",
    "/api/metrics/minstep",
    *(f"/api/metrics/{path}" for path in ("query", "query_range", "summary")),  # Tempo's, which are not there
    "/health",
    "/info",
    "/zipkin/config.json",
}
"""What says nothing that any tenant sent; `/metrics` has a scope of its own."""

NOW = time.time_ns()
HOUR = 3_600_000_000_000
WINDOW = f"start={NOW - HOUR}&end={NOW + HOUR}"
MILLISECONDS = f"endTs={(NOW + HOUR) // 1_000_000}&lookback={2 * HOUR // 1_000_000}"
SINCE = f"query.start_time_min={_rfc3339(NOW - HOUR)}&query.start_time_max={_rfc3339(NOW + HOUR)}"
OF_KEY = quote('{ .{key} != "" }').replace("%7Bkey%7D", "{key}")

_ZIPKIN = {
    "/api/v2/spans": ("?serviceName={service}",),
    "/api/v2/remoteServices": ("?serviceName={service}",),
    "/api/v2/traces": (f"?{MILLISECONDS}", f"?serviceName={{service}}&{MILLISECONDS}"),
    "/api/v2/traceMany": ("?traceIds={trace},{other}",),
    "/api/v2/autocompleteValues": ("?key={key}",),
    "/api/v2/dependencies": (f"?{MILLISECONDS}",),
}
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    **_ZIPKIN,
    **{f"/zipkin{path}": queries for path, queries in _ZIPKIN.items()},
    "/api/v1/search": (f"?{WINDOW}", f"?q={OF_KEY}&{WINDOW}"),
    "/api/v1/services": (f"?{WINDOW}",),
    "/api/v1/dependencies": (f"?{WINDOW}",),
    "/api/v1/rates": (f"?{WINDOW}", f"?service={{service}}&{WINDOW}"),
    "/api/operations": ("?service={service}",),
    "/api/traces": ("?service={service}", "?traceID={trace}&traceID={other}"),
    "/api/dependencies": (f"?{MILLISECONDS}",),
    "/api/metrics/calls": (f"?service={{service}}&spanKind=unspecified&{MILLISECONDS}",),
    "/api/metrics/errors": (f"?service={{service}}&spanKind=unspecified&{MILLISECONDS}",),
    "/api/metrics/latencies": (f"?service={{service}}&spanKind=unspecified&quantile=0.5&{MILLISECONDS}",),
    "/api/v3/operations": ("?service={service}",),
    "/api/v3/traces": (f"?query.service_name={{service}}&{SINCE}",),
    "/api/v3/trace-summaries": (f"?query.service_name={{service}}&{SINCE}",),
    "/sampling": ("?service={service}",),
    "/api/sampling": ("?service={service}",),
    "/api/search": (f"?q={OF_KEY}&start={(NOW - HOUR) // 10**9}&end={(NOW + HOUR) // 10**9}",),
}
"""By path the queries to ask with, where the path alone asks nothing; `{…}` is filled in as in the path."""

CHANGES: Mapping[tuple[str, str], bytes] = {
    ("POST", "/v1/traces"): b"{}",
    ("POST", "/api/v1/spans"): b"[]",
    ("POST", "/api/v2/spans"): b"[]",
    ("POST", "/api/traces"): b"",
    ("POST", "/api/v1/query/validate"): b'{"q": "{ }"}',
    ("POST", "/api/v1/sampling/decisions"): b"{}",
    ("POST", "/api/v1/sampling/decisions/query"): b"{}",
    ("POST", "/api/v1/retention/plan"): b"{}",
    ("POST", "/api/v1/retention/apply"): b"{}",
    ("POST", "/api/v1/pins"): b'{"trace_id": "{trace}", "note": "{key}"}',
    ("DELETE", "/api/v1/pins/{trace_id}"): b"",
    ("POST", "/api/v1/archive/restore"): b'{"trace_id": "{trace}"}',
    ("POST", "/api/v1/tokens"): b'{"name": "{key}", "scopes": ["ingest"]}',
    ("DELETE", "/api/v1/tokens/{token}"): b"",
    ("POST", "/api/v1/import"): b'{"resourceSpans": []}',
}
"""By method and path of what changes something, a body that it takes; `{trace}` and `{key}` are filled in."""


@dataclass(frozen=True)
class Tenant:
    """A tenant, and its tokens by scope."""

    name: str
    tokens: Mapping[str, str]

    def headers(self, scope: str) -> dict[str, str]:
        """Those of a request."""
        return {"Authorization": f"Bearer {self.tokens[scope]}"}


@dataclass(frozen=True)
class Endpoint:
    """A route of a port."""

    port: str
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.port} {self.method} {self.path}"


@pytest.fixture(scope="module")
def tenants(place: Path) -> list[Tenant]:
    """Two, with a token for each scope."""
    file = TokenFile(place / "data" / "tokens.json")
    return [
        Tenant(name, {one.value: file.create(f"{name}-{one.value}", {one}, tenant=name)[1] for one in Scope})
        for name in ("alpha", "beta")
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The backend's folder."""
    return tmp_path_factory.mktemp("isolation")


@pytest.fixture(scope="module")
def backend(place: Path, tenants: list[Tenant]) -> Iterator[Backend]:
    """A backend with their tokens, and a rule of retention for each."""
    policy = place / "retention.yaml"
    policy.write_text(
        "rules:\n"
        + "".join(f"  - {{name: of {one.name}, match: {{tenant: {one.name}}}, keep: 9d}}\n" for one in tenants)
        + "  - {name: rest, keep: 7d}\n"
    )
    # No sweep by schedule, which changes what a tenant sees without another's doing.
    with running(place, retention_file=policy, retention_interval=0) as made:
        yield made


def endpoints(backend: Backend) -> list[Endpoint]:
    """Every route of every port that speaks HTTP."""
    found = []
    for listener in backend.listeners:
        app = getattr(getattr(listener, "_server", None), "config", None)
        if app is None:
            continue  # no HTTP
        inner = app.app
        while not hasattr(inner, "routes"):
            inner = inner._app
        for path, methods in routes_of(inner.routes):
            found += [Endpoint(f"{listener.name}_port", method, path) for method in methods if method != "HEAD"]
    return found


def routes_of(routes: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Paths with their methods, of Starlette's routes, of what is mounted, and of FastAPI's routers."""
    for route in routes:
        if (router := getattr(route, "original_router", None)) is not None:
            yield from routes_of(router.routes, prefix + route.include_context.prefix)
        elif getattr(route, "routes", None):
            yield from routes_of(route.routes, prefix + route.path)
        else:
            yield prefix + route.path, sorted(route.methods or ())


def call(backend: Backend, endpoint: Endpoint, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """A request to the endpoint."""
    return ask(getattr(backend.settings, endpoint.port), path, body, method=endpoint.method, **headers)


def test_every_route_wants_a_token(backend: Backend) -> None:
    """401 without one, whatever the route; only health is for everybody."""
    for endpoint in endpoints(backend):
        path = re.sub(r"{[^}]*}", "1", endpoint.path)
        status = call(backend, endpoint, path, b"" if endpoint.method == "POST" else None).status
        assert (status == 401) == (endpoint.path not in PUBLIC), endpoint


def test_every_route_wants_one_scope(backend: Backend, tenants: list[Tenant]) -> None:
    """One of them is let in, the others get 403."""
    for endpoint in endpoints(backend):
        if endpoint.path in PUBLIC:
            continue
        path = re.sub(r"{[^}]*}", "1", endpoint.path)
        body = CHANGES.get((endpoint.method, endpoint.path))
        allowed = [
            scope.value
            for scope in Scope
            if call(backend, endpoint, path, body, **tenants[0].headers(scope.value)).status != 403
        ]
        assert len(allowed) == 1, f"{endpoint}: {allowed}"


def test_every_route_that_changes_something_is_known(backend: Backend) -> None:
    """Else nobody would try whose things it changes."""
    changing = {(one.method, one.path) for one in endpoints(backend) if one.method not in ("GET", "OPTIONS")}
    assert changing <= set(CHANGES)


text = st.text("abc{}/%\"'<漢\u202e", min_size=1, max_size=8)


@settings(
    max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(text, text, text, st.integers(1, 1 << 60)), min_size=1, max_size=4))
def test_what_one_tenant_does_changes_nothing_of_what_another_sees(
    backend: Backend, tenants: list[Tenant], made: list[tuple[str, str, str, int]]
) -> None:
    """All answers to one stay as they were while the other sends, and do not have what he sent; he himself sees it."""
    alpha, beta = tenants
    reading = [one for one in endpoints(backend) if one.method == "GET" and one.path not in NOT_OF_A_TENANT]
    mark = f"mark{time.time_ns()}"
    number = made[0][3]
    names = {
        "trace": f"{number:032x}",
        "other": f"{number + 1:032x}",
        "span": f"{number:016x}",
        "service": f"{mark}-service",
        "key": f"{mark}.key",
        "operation": f"{mark}-operation",
    }
    for _ in range(2):  # the first time shows that beta's tokens are used now
        before = {one: [answer.body for answer in asked(backend, one, beta, names)] for one in reading}
    now = time.time_ns()
    spans = [
        span(
            of,
            own=of,
            at=now - index,
            service=names["service"],
            name=f"{names['operation']}{name}",
            attributes={names["key"]: value, name: key},
        )
        for index, (name, key, value, of) in enumerate(made)
    ]
    backend.tenants.get(alpha.name).store.write(batch(*spans))
    for (method, path), body in CHANGES.items():
        for one in endpoints(backend):
            if (one.method, one.path) == (method, path):
                for scope in Scope:
                    said = body.replace(b"{trace}", names["trace"].encode()).replace(b"{key}", names["key"].encode())
                    call(backend, one, filled(path, names), said, **alpha.headers(scope.value))
    for one in reading:
        again = asked(backend, one, beta, names)
        assert [answer.body for answer in again] == before[one], one
        own = asked(backend, one, alpha, names)
        assert any(answer.status == 200 for answer in own), f"{one}: add what it can be asked to QUESTIONS"


def asked(backend: Backend, endpoint: Endpoint, tenant: Tenant, names: Mapping[str, str]) -> list[Answer]:
    """What the tenant is answered to all questions for what has these names."""
    queries = QUESTIONS.get(endpoint.path, ("",))
    reading = "admin" if endpoint.path.startswith("/api/v1/tokens") else "query"
    headers = tenant.headers(reading if endpoint.port in ("api_port", "zipkin_port") else "ingest")
    return [call(backend, endpoint, filled(endpoint.path + query, names), **headers) for query in queries]


def filled(path: str, names: Mapping[str, str]) -> str:
    """The path with a name for each of its parameters."""
    kinds = {"token": "key", "id": "trace", "trace_id": "trace", "span_id": "span", "name": "service", "tag": "key"}

    def named(match: re.Match[str]) -> str:
        parameter = match[1].partition(":")[0]
        return names[kinds.get(parameter, parameter)]

    return re.sub(r"{([^}]*)}", named, path)


def test_requests_of_senders_go_to_their_tenant(backend: Backend, tenants: list[Tenant]) -> None:
    """Each tenant finds the trace that it sent, and the other's not."""
    numbers = {tenant.name: uuid.uuid4().hex for tenant in tenants}
    for tenant in tenants:
        span = {"traceId": numbers[tenant.name], "id": "00f067aa0ba902b7", "timestamp": NOW // 1_000, "duration": 1}
        body = json.dumps([span]).encode()
        assert ask(backend.settings.zipkin_port, "/api/v2/spans", body, **tenant.headers("ingest")).status == 202
    for tenant in tenants:
        for owner, number in numbers.items():
            path = f"/api/v1/traces/{number}"
            status = ask(backend.settings.api_port, path, **tenant.headers("query")).status
            assert status == (200 if owner == tenant.name else 404)


def test_a_tenant_sees_the_rules_that_concern_it_alone(backend: Backend, tenants: list[Tenant]) -> None:
    """Neither another's rule nor its name is in what a tenant is told of the retention policy."""
    for one, other in (tenants, reversed(tenants)):
        answer = ask(backend.settings.api_port, "/api/v1/retention/policy", **one.headers("query"))
        assert [rule["name"] for rule in answer.json["rules"]] == [f"of {one.name}", "rest"]
        assert other.name.encode() not in answer.body
