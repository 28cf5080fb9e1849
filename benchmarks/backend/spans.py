"""Spans as a shop of two dozen services would send them: any number, the same ones for the same seed.

A trace is one of 60 flows (Zipf: the first is a fifth of all), a tree of server, client, database, cache, messaging
and inner spans through several services, with ten attributes a span on average: a user of two millions (a few are
busy), a session, an item, a URL that nobody else has. Traces are spread over the day; spans come when they end.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from kai_tracing_backend.columns import BATCH, dump_resource, dump_scope
from kai_tracing_backend.model import Scope

__all__ = ["DAY", "DAY_START", "batches"]

DAY = 86_400_000_000_000
DAY_START = 20_410 * DAY
"""2025-11-18, 00:00 UTC."""

_SERVICES = """
    web-frontend mobile-gateway cart catalog search recommendations pricing inventory checkout payment fraud shipping
    tax email notifications accounts sessions reviews ads media orders invoices warehouse loyalty
""".split()
_VERBS = "GET GET GET POST PUT".split()
_FLOWS = 60
_MS = 1_000_000
_SQL = Path(__file__).with_name("spans.sql")
_CHUNK = 10_000  # traces made at once


def batches(spans: int, rows: int, *, seed: int = 1, days: float = 1.0, start: int = DAY_START) -> Iterator[pa.Table]:
    """About this many spans in batches (`columns.BATCH`) of `rows`, spread over the days from `start` on."""
    calls, flows, mean = _flows(random.Random(seed))
    traces = max(1, round(spans / mean))
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("CREATE MACRO u(key, salt) AS hash(key, salt) / 18446744073709551616.0")
        connection.register("calls", calls)
        connection.register("flows", flows)
        window = {"seed": seed, "day": start, "length": int(days * DAY), "traces": traces}
        for first in range(0, traces, _CHUNK):
            parameters = {**window, "first": first, "last": min(first + _CHUNK, traces)}
            made = _batch(connection.sql(_SQL.read_text(), params=parameters).to_arrow_table())
            for offset in range(0, made.num_rows, rows):
                yield made.slice(offset, rows)


def _batch(made: pa.Table) -> pa.Table:
    columns: list[Any] = []
    for field in BATCH:
        if field.name not in made.column_names:
            columns.append(pa.nulls(made.num_rows, field.type))
        elif pa.types.is_dictionary(field.type):
            columns.append(made[field.name].dictionary_encode())
        else:
            columns.append(made[field.name].cast(field.type))
    return pa.Table.from_arrays(columns, schema=BATCH).unify_dictionaries()


def _flows(chance: random.Random) -> tuple[pa.Table, pa.Table, float]:
    """The calls of each flow, how likely each flow is (summed up), and the mean number of spans."""
    calls: list[dict[str, Any]] = []
    sizes = []
    for flow in range(_FLOWS):
        nodes: list[dict[str, Any]] = []
        _serve(chance, nodes, _SERVICES[flow % 2], -1, 0.0, chance.uniform(20, 400) * _MS, 3)
        sizes.append(len(nodes))
        calls += ({"flow": flow, "node": number, **node} for number, node in enumerate(nodes))
    weights = [1 / (flow + 1) for flow in range(_FLOWS)]
    total = sum(weights)
    until = [sum(weights[: flow + 1]) / total for flow in range(_FLOWS - 1)]
    mean = sum(size * weight for size, weight in zip(sizes, weights, strict=True)) / total
    return pa.Table.from_pylist(calls), pa.table({"until": until}), mean


def _serve(
    chance: random.Random,
    nodes: list[dict[str, Any]],
    service: str,
    parent: int,
    after: float,
    takes: float,
    depth: int,
) -> None:
    """A request to a service: its server span and what it does meanwhile."""
    operation = chance.randrange(8)
    method, route = _VERBS[operation % 5], f"/api/{service}/{'v1' if operation % 2 else 'v2'}/{{id}}/part{operation}"
    own = _add(nodes, service, parent, after, takes, "server", f"{method} {route}", method=method, route=route)
    parts = chance.randint(1, 4)
    for part in range(parts):
        begins, room = after + takes * (part + 0.1) / parts, takes * 0.8 / parts
        choice = chance.random()
        if choice < 0.35 and depth:
            other = chance.choice(_SERVICES[2:])
            call = _add(nodes, service, own, begins, room, "client", method, method=method, route=route, peer=other)
            _serve(chance, nodes, other, call, begins + room * 0.05, room * 0.9, depth - 1)
        elif choice < 0.6:
            _add(nodes, service, own, begins, room, "database", f"SELECT {service}", peer=f"{service}-db.internal")
        elif choice < 0.75:
            _add(nodes, service, own, begins, room, "cache", "GET", peer="redis.internal")
        elif choice < 0.8 and depth:
            topic, reader = f"{service}.changed", chance.choice(_SERVICES[2:])
            send = _add(nodes, service, own, begins, room * 0.1, "producer", f"send {topic}", peer=topic)
            _add(nodes, reader, send, begins + room, room, "consumer", f"process {topic}", peer=topic)
        else:
            _add(nodes, service, own, begins, room, "inner", f"{service}.step_{part}")


_KINDS = {"inner": 1, "server": 2, "client": 3, "database": 3, "cache": 3, "producer": 4, "consumer": 5}


def _add(
    nodes: list[dict[str, Any]],
    service: str,
    parent: int,
    after: float,
    takes: float,
    sort: str,
    name: str,
    *,
    method: str = "",
    route: str = "",
    peer: str = "",
) -> int:
    resource = {
        "service.name": service,
        "service.version": "2025.11.3",
        "service.instance.id": f"{service}-7d9f-{len(nodes) % 3}",
        "deployment.environment.name": "production",
        "k8s.pod.name": f"{service}-7d9f-{len(nodes) % 3}",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.language": "python",
    }
    nodes.append(
        {
            "parent": parent,
            "after": after,
            "takes": takes,
            "sort": sort,
            "kind": _KINDS[sort],
            "name": name,
            "service": service,
            "resource": dump_resource(resource),
            "scope": dump_scope(Scope(f"instrumentation.{sort}", "0.50")),
            "method": method,
            "route": route,
            "peer": peer or f"{service}.internal",
            "fails_with": parent < 0 or sort in ("server", "client"),
        }
    )
    return len(nodes) - 1
