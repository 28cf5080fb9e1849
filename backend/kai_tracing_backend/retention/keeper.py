"""Plans what is due, and drops it: when it is asked to, and by schedule. One thread does all of the work."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from functools import partial
from pathlib import Path

from kai_tracing_backend.keeping import Cut, Discarded
from kai_tracing_backend.metrics import Metrics
from kai_tracing_backend.retention.archive import Archive
from kai_tracing_backend.retention.planning import TenantPlan, cut_to_size, plan_tenant
from kai_tracing_backend.retention.policy import Policy
from kai_tracing_backend.retention.source import PolicySource
from kai_tracing_backend.storage.contract import StoreError
from kai_tracing_backend.tenants import Tenant, Tenants
from kai_tracing_backend.troubles import Trouble

__all__ = ["BusyError", "Keeper", "Plan", "StaleError", "Sweep", "tenant_names"]

logger = logging.getLogger(__name__)

_WORTH = 0.05  # of a day's file that has to be free before it is copied
_JUMP = 3_600.0  # seconds that a clock may be ahead of what it was at the last sweep
_SILENT = 3_600.0  # seconds between two lines about sweeps that fail
_NANO = 1_000_000_000


class BusyError(Exception):
    """A sweep runs: another one has to wait."""


class StaleError(Exception):
    """There is no such plan any more: plan again."""


@dataclass(frozen=True)
class Plan:
    """What would be dropped of a tenant by a policy at a moment (nanoseconds)."""

    id: str
    created: int
    policy: Policy
    tenant: TenantPlan


@dataclass
class Sweep:
    """What a sweep of a tenant does or did. Moments are nanoseconds; `ended` None is that it runs.

    `changed` are days that were not as planned any more, and were left alone.
    """

    tenant: str
    started: int
    plan: str | None = None
    days: int = 0
    days_done: int = 0
    dropped: Discarded = field(default_factory=Discarded)
    rollups: int = 0
    changed: list[date] = field(default_factory=list)
    ended: int | None = None
    error: str | None = None


class Keeper:
    """Retention of all tenants, whose names `names` gives. `interval` is seconds between sweeps; 0 is no schedule."""

    def __init__(
        self,
        tenants: Tenants,
        source: PolicySource,
        archive: Archive,
        metrics: Metrics,
        names: Callable[[], Sequence[str]],
        interval: float = 3_600.0,
    ) -> None:
        self.source = source
        self.archive = archive
        self.next_sweep: int | None = None
        self._tenants, self._metrics, self._names, self._interval = tenants, metrics, names, interval
        self._plans: dict[str, Plan] = {}
        self._numbers = itertools.count(1)
        self._sweeps: dict[str, Sweep] = {}
        self._changed = threading.Condition()
        self._asked: list[Plan] = []
        self._failing: dict[str, Trouble] = defaultdict(partial(Trouble, logger, interval=_SILENT))  # by tenant
        self._running = False
        self._ahead = _ahead()
        self._stopped = False
        self._thread: threading.Thread | None = None
        metrics.watch("retention_policy_faulty", "1 where the policy's file cannot be used", [], self._faulty)

    def _faulty(self) -> list[tuple[tuple[str, ...], float]]:
        return [((), float(self.source.current().error is not None))]

    # -- plans -------------------------------------------------------------------------------------------------------

    def plan(self, tenant: Tenant) -> Plan:
        """What would be dropped of a tenant now. Its last plan is the one that can be applied."""
        policy = self.source.current().policy
        planned = self._plan(tenant, policy, self._cut(policy))
        made = Plan(f"{planned.cut.now}-{next(self._numbers)}", planned.cut.now, policy, planned)
        self._plans[tenant.name] = made
        return made

    def _cut(self, policy: Policy) -> Cut:
        """What is due now; with a size to keep to, by what all tenants have."""
        now = time.time_ns()
        if policy.max_size is None:
            return Cut(now)
        tenants = [self._tenants.get(name) for name in self._names()]
        lots = {one.name: one.store.retention.survey(policy.for_tenant(one.name)) for one in tenants}
        return cut_to_size(lots, now, sum(one.store.retention.bytes() for one in tenants), policy.max_size)

    def _plan(self, tenant: Tenant, policy: Policy, cut: Cut) -> TenantPlan:
        rules = policy.for_tenant(tenant.name)
        return plan_tenant(tenant.name, rules, tenant.store.retention.survey(rules), cut)

    def apply(self, tenant: Tenant, plan_id: str) -> Sweep:
        """Begin to drop what a plan said.

        Raises:
            StaleError: it is not the tenant's last plan, or the policy has changed since.
            BusyError: another sweep runs.
        """
        plan = self._plans.get(tenant.name)
        if plan is None or plan.id != plan_id:
            raise StaleError("there is no such plan: plan again, and apply what that says")
        if plan.policy != self.source.current().policy:
            raise StaleError("the policy has changed since: plan again, and apply what that says")
        with self._changed:
            if self._running or self._asked:
                raise BusyError("a sweep is running: wait until it has ended")
            del self._plans[tenant.name]
            self._asked.append(plan)
            sweep = self._sweeps[tenant.name] = Sweep(tenant.name, time.time_ns(), plan.id, len(plan.tenant.days))
            self._changed.notify_all()
        return sweep

    def last_sweep(self, tenant: Tenant) -> Sweep | None:
        """The sweep of a tenant that runs, or else the last one."""
        return self._sweeps.get(tenant.name)

    # -- sweeps ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Sweep by schedule, and when a plan is applied."""
        self._thread = threading.Thread(target=self._run, name="kai-tracing-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the step that runs."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        due = time.monotonic() + min(60.0, self._interval)  # not at once: a start has enough to do
        while True:
            with self._changed:
                left = max(0.0, due - time.monotonic()) if self._interval else None
                self.next_sweep = None if left is None else time.time_ns() + int(left * _NANO)
                self._changed.wait_for(lambda: self._stopped or bool(self._asked), left)
                if self._stopped:
                    return
                plan = self._asked.pop() if self._asked else None
                self._running = True
            try:
                if plan is not None:
                    self._apply(plan)
                else:
                    self.sweep()
                    due = time.monotonic() + self._interval
            except Exception:
                self._failing[""].happened("a retention sweep failed", traceback=True)
                due = max(due, time.monotonic() + 60.0)
            else:
                self._failing[""].over("retention sweeps again")
            finally:
                with self._changed:
                    self._running = False

    def sweep(self) -> None:
        """Drop what is due of every tenant, on this thread.

        Nothing is, once, where the clock was put forward since the last time: a wrong one would drop everything.
        """
        before, self._ahead = self._ahead, _ahead()
        if self._ahead - before > _JUMP:
            logger.warning(
                "the clock was put forward by %.1f hours: no retention sweep now; the next one trusts it",
                (self._ahead - before) / 3_600,
            )
            return
        policy = self.source.current().policy
        cut = self._cut(policy)
        for name in self._names():
            if self._stopped:
                return
            tenant = self._tenants.get(name)
            sweep = self._sweeps[name] = Sweep(name, time.time_ns())
            self._carry_out(sweep, tenant, policy, cut)

    def _apply(self, plan: Plan) -> None:
        tenant = self._tenants.get(plan.tenant.tenant)
        self._carry_out(self._sweeps[tenant.name], tenant, plan.policy, plan.tenant.cut, plan.tenant)

    def _carry_out(
        self, sweep: Sweep, tenant: Tenant, policy: Policy, cut: Cut, said: TenantPlan | None = None
    ) -> None:
        """Day by day. Of what was said before, days that are not so any more are left alone."""
        try:
            # All days are looked at before the first is swept, which may take traces out of another.
            now = self._plan(tenant, policy, cut)
            plan = said or now
            sweep.days = len(plan.days)
            for day in plan.days:
                if self._stopped:
                    return
                if day in now.days:
                    self._sweep_day(sweep, tenant, policy, cut, day.day)
                else:
                    sweep.changed.append(day.day)
                sweep.days_done += 1
            self._compact(sweep, tenant)
            sweep.rollups = tenant.store.retention.expire_rollups(time.time_ns() - policy.rollups)
        except StoreError as error:
            sweep.error = str(error)
            self._failing[tenant.name].happened(f"the retention sweep of {tenant.name} stopped: {error}")
        else:
            self._failing[tenant.name].over(f"the retention of {tenant.name} sweeps again")
        finally:
            sweep.ended = time.time_ns()

    def _sweep_day(self, sweep: Sweep, tenant: Tenant, policy: Policy, cut: Cut, day: date) -> None:
        def keep_copy(of: date, reader: object) -> None:
            self.archive.add(tenant.name, of, reader)

        rules = policy.for_tenant(tenant.name)
        self._count(sweep, tenant, tenant.store.retention.discard(day, rules, cut, keep_copy))

    def _compact(self, sweep: Sweep, tenant: Tenant) -> None:
        """Days of which much was dropped; not today's, which is written to."""
        today = datetime.now(timezone.utc).date()
        for day in tenant.store.days():
            if self._stopped:
                return
            if day < today and (freed := tenant.store.retention.compact(day, _WORTH)):
                self._count(sweep, tenant, Discarded(bytes=freed))

    def _count(self, sweep: Sweep, tenant: Tenant, dropped: Discarded) -> None:
        sweep.dropped += dropped
        label = self._metrics.tenant(tenant.name)
        self._metrics.swept_traces.labels(label).inc(dropped.traces)
        self._metrics.swept_spans.labels(label).inc(dropped.spans)
        self._metrics.swept_bytes.labels(label).inc(max(0, dropped.bytes))


def _ahead() -> float:
    """By how many seconds the clock is ahead of one that nobody sets."""
    return time.time_ns() / _NANO - time.monotonic()


def tenant_names(data: Path, default: str) -> list[str]:
    """The tenants that have a folder; the default one always is."""
    return [default, *sorted(path.name for path in (data / "tenants").glob("*") if path.is_dir())]
