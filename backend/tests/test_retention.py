"""Retention as users meet it: over the API and the command line of a running backend."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from kai_tracing_backend.app import Backend
from kai_tracing_backend.cli.retention import archive, pins, retention
from kai_tracing_backend.retention.policy import PolicyError
from kai_tracing_backend.testing.store_contract import DAY, EVER, NOON, batch, span

from tests.support.backend import Answer, ask, running, settings_in

POLICY = """
rules:
  - {name: errors, match: {error: true}, keep: 10y}
  - {name: archived, match: {service: keepsake}, keep: 1d, archive: true}
  - {name: rest, keep: 7d}
rollups: 10y
"""


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """A backend with old traces and a policy; nothing is swept by schedule."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    with running(tmp_path, retention_file=tmp_path / "policy.yaml", retention_interval=0) as made:
        store = made.tenants.get().store
        store.write(batch(span(1, 1, status=2), span(1, 2, 1), span(2), span(3), span(4, at=NOON + DAY)))
        keepsake = [span(5, 1, service="keepsake", attributes={"n": 7, "l": ["x"], "http.route": "/a"})]
        store.write(batch(*keepsake, span(5, 2, 1, service="b", at=NOON + DAY, links=[]), span(6, service="keepsake")))
        yield made


def api(backend: Backend, path: str, body: Any = None) -> Answer:
    """A request to the own API."""
    content = None if body is None else json.dumps(body).encode()
    return ask(backend.settings.api_port, f"/api/v1/{path}", content)


def command(backend: Backend, group: Any, *arguments: str) -> str:
    """What a command prints."""
    url = f"http://127.0.0.1:{backend.settings.api_port}"
    result = CliRunner().invoke(group, [*arguments, "--url", url], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def applied(backend: Backend, plan: str) -> Any:
    """Carry a plan out and wait."""
    assert api(backend, "retention/apply", {"plan": plan}).status == 202
    until = time.monotonic() + 60
    while True:
        answer = api(backend, "retention/status")
        assert answer.status == 200, answer.body
        if (sweep := answer.json["sweep"])["ended"]:
            return sweep
        assert time.monotonic() < until
        time.sleep(0.02)


def there(backend: Backend) -> list[int]:
    """Which traces are there."""
    return [n for n in range(1, 10) if backend.tenants.get().store.trace(f"{n:x}")]


def test_apply_does_what_plan_said(backend: Backend) -> None:
    """By rule and by day; a plan is carried out once; what is left fits the policy; and it is counted."""
    plan = api(backend, "retention/plan", {}).json
    assert [(rule["rule"], rule["traces"], rule["spans"]) for rule in plan["rules"]] == [
        ("errors", 0, 0),
        ("archived", 2, 3),
        ("rest", 3, 3),
    ]
    assert [(day["day"], day["spans"], day["ofSpans"], day["whole"]) for day in plan["days"]] == [
        ("2024-10-04", 4, 6, False),
        ("2024-10-05", 2, 2, True),
    ]
    assert there(backend) == [1, 2, 3, 4, 5, 6]  # nothing is dropped by a plan
    sweep = applied(backend, plan["id"])
    assert (sweep["traces"], sweep["spans"], sweep["error"]) == (5, 6, None)
    assert there(backend) == [1]
    again = api(backend, "retention/apply", {"plan": plan["id"]})
    assert (again.status, "plan again" in again.json["error"]) == (409, True)
    assert api(backend, "retention/plan", {}).json["days"] == []
    metrics = ask(backend.settings.api_port, "/metrics").body.decode()
    assert 'kai_tracing_backend_swept_spans_total{tenant="default"} 6.0' in metrics


def test_a_day_that_has_changed_since_the_plan_is_left_alone(backend: Backend) -> None:
    """It is said which; the others are done. With another policy nothing is."""
    plan = api(backend, "retention/plan", {}).json
    backend.tenants.get().store.write(batch(span(7, at=NOON + DAY)))
    sweep = applied(backend, plan["id"])
    assert sweep["changed"] == ["2024-10-05"]
    assert 4 in there(backend)
    plan = api(backend, "retention/plan", {}).json
    path = backend.settings.retention_file
    assert path is not None
    path.write_text(POLICY.replace("7d", "70d"))
    refused = api(backend, "retention/apply", {"plan": plan["id"]})
    assert (refused.status, "policy has changed" in refused.json["error"]) == (409, True)


def test_the_policy_is_shown_with_what_is_wrong_with_its_file(backend: Backend) -> None:
    """The last good one holds."""
    assert api(backend, "retention/policy").json["error"] is None
    assert backend.settings.retention_file is not None
    backend.settings.retention_file.write_text("rules: [{name: a}]")
    document = api(backend, "retention/policy").json
    assert "line 1, rule 1 (a): keep: is missing" in document["error"]
    assert [rule["name"] for rule in document["rules"]] == ["errors", "archived", "rest"]


def test_a_backend_does_not_start_with_a_policy_that_is_none(tmp_path: Path) -> None:
    """With the file and the place in the message."""
    (tmp_path / "policy.yaml").write_text("rules: []")

    async def start() -> None:
        Backend(settings_in(tmp_path, retention_file=tmp_path / "policy.yaml"))

    with pytest.raises(PolicyError, match=r"policy\.yaml, line 1: rules"):
        asyncio.run(start())


def test_a_sweep_by_schedule_needs_nobody(tmp_path: Path) -> None:
    """Old traces go by the built-in policy; errors that are old enough, too; a size keeps all tenants small."""
    with running(tmp_path, retention_interval=0.2) as made:
        made.tenants.get().store.write(batch(span(1, status=2), span(2)))
        made.tenants.get("team").store.write(batch(span(1)))
        until = time.monotonic() + 60
        while made.tenants.get().store.days() or made.tenants.get("team").store.days():
            assert time.monotonic() < until
            time.sleep(0.05)


def test_pinned_traces_are_listed_and_stay(backend: Backend) -> None:
    """Over the API and the command line, with a note; an unknown trace cannot be pinned."""
    assert api(backend, "pins", {"trace_id": "2", "note": "why"}).status == 201
    assert api(backend, "pins", {"trace_id": "99"}).status == 404
    assert api(backend, "pins", {"trace_id": "xyz"}).status == 400
    command(backend, pins, "add", "4", "--note", "because")
    assert "because" in command(backend, pins, "list")
    applied(backend, api(backend, "retention/plan", {}).json["id"])
    assert there(backend) == [1, 2, 4]
    command(backend, pins, "remove", "4")
    assert [pin["note"] for pin in json.loads(command(backend, pins, "list", "--json"))["pins"]] == ["why"]


def test_the_commands_show_and_do_it(backend: Backend) -> None:
    """Plan as a table, apply with a question unless told, status, policy."""
    shown = command(backend, retention, "plan")
    assert "archived" in shown
    assert "2024-10-05  the whole day" in shown
    assert json.loads(command(backend, retention, "plan", "--json"))["days"]
    assert "5 traces, 6 spans dropped" in command(backend, retention, "apply", "--yes")
    assert "Nothing is due." in command(backend, retention, "apply")
    assert "last sweep" in command(backend, retention, "status")
    assert "name: archived" in command(backend, retention, "policy")


# -- archive -----------------------------------------------------------------------------------------------------------


def test_what_is_archived_is_found_and_comes_back_as_it_was(backend: Backend) -> None:
    """Also over midnight; queried; restored exactly, counted once, and safe from the next sweep."""
    store = backend.tenants.get().store
    before, rates, edges = store.trace("5"), store.rates(*EVER), store.dependencies(*EVER)
    applied(backend, api(backend, "retention/plan", {}).json["id"])
    listed = api(backend, "archive").json["days"]
    assert [(day["day"], day["traces"], day["spans"]) for day in listed] == [("2024-10-05", 1, 1), ("2024-10-04", 2, 2)]
    assert "2024-10-04" in command(backend, archive, "list")
    found = json.loads(command(backend, archive, "query", "{ span.n = 7 }", "--json"))["traces"]
    assert [int(trace["traceId"], 16) for trace in found] == [5]
    assert f"{5:032x}" in command(backend, archive, "query", "{ span.n = 7 }", "--day", "2024-10-04")

    assert "2 of 2 spans restored" in command(backend, archive, "restore", "5")
    assert "0 of 2 spans restored" in command(backend, archive, "restore", "2024-10-04").replace("1 of 2", "0 of 2")
    assert store.trace("5") == before
    assert (store.rates(*EVER), store.dependencies(*EVER)) == (rates, edges)
    assert api(backend, "retention/plan", {}).json["days"] == []
    assert there(backend) == [1, 5, 6]
    assert api(backend, "archive/restore", {"trace_id": "77"}).status == 404
    assert api(backend, "archive/restore", {}).status == 400
    assert api(backend, "archive/restore", {"day": "2024-10-04", "keep": "soon"}).status == 400


def test_the_archive_is_read_by_plain_duckdb_and_pyarrow(backend: Backend) -> None:
    """One file for each tenant and day, zstd; archiving a day again adds what is new, and nothing twice."""
    applied(backend, api(backend, "retention/plan", {}).json["id"])
    backend.tenants.get().store.write(batch(span(6, service="keepsake"), span(8, service="keepsake")))
    applied(backend, api(backend, "retention/plan", {}).json["id"])
    path = backend.keeper.archive.folder / "tenant=default" / "day=2024-10-04" / "spans.parquet"
    with pq.ParquetFile(path) as file:
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    rows = duckdb.connect().execute(
        f"SELECT day, tenant, trace_low, service FROM read_parquet('{path.parents[2]}/*/*/*.parquet',"
        " hive_partitioning = true) ORDER BY trace_low, day"
    )
    assert [row[2:] for row in rows.fetchall()] == [(5, "keepsake"), (5, "b"), (6, "keepsake"), (8, "keepsake")]
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["spans.parquet"]


def test_a_clock_that_jumps_drops_nothing_at_once(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """The sweep after it does nothing but say so; the next one trusts the clock. What is asked for is done anyway."""
    backend.keeper._ahead -= 48 * 3_600
    before = there(backend)
    backend.keeper.sweep()
    assert there(backend) == before
    assert "the clock was put forward by 48.0 hours: no retention sweep now" in caplog.text
    backend.keeper.sweep()
    assert len(there(backend)) < len(before)
