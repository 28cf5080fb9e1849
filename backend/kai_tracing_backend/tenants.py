"""Tenants: each has a store of its own, so that no query of one can ever meet a span of another."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import partial

from starlette.requests import HTTPConnection

from kai_tracing_backend.metrics import Metrics
from kai_tracing_backend.storage.contract import SpanStore, StoreError
from kai_tracing_backend.storage.queue import Stage, WriteQueue
from kai_tracing_core.sampling.decisions import InProcessDecisionChannel

__all__ = ["DEFAULT_TENANT", "TENANT_NAME", "Tenant", "Tenants", "tenant_of"]

DEFAULT_TENANT = "default"
"""Whose the spans of a sender are that says nothing else."""

TENANT_NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""What a tenant may be called; it becomes a folder's name."""

_VERDICTS = 100_000


class Tenant:
    """One tenant: its spans, the queue of those that wait to be stored, and what they pass through before it.

    Receivers submit to `pipeline`: the first of the stages that `build` puts in front of the queue, or that itself.
    """

    def __init__(
        self,
        name: str,
        store: SpanStore,
        queue_bytes: int,
        *,
        metrics: Metrics | None = None,
        build: Callable[[Tenant], Stage] | None = None,
    ) -> None:
        self.name = name
        self.store = store
        self.metrics = metrics or Metrics()
        self.queue = WriteQueue(store, queue_bytes, self.metrics.commit_meter(name))
        self.verdicts = InProcessDecisionChannel(limit=_VERDICTS)
        """Of the tail samplers in its senders' processes."""
        self.pipeline: Stage = build(self) if build is not None else self.queue

    def close(self) -> None:
        """Write what waits, then close the store.

        Raises:
            StoreError: something could not be written, and waits for the next process. All is closed nevertheless.
        """
        try:
            self.pipeline.close()
        finally:
            self.queue.close()
            self.store.close()


class Tenants:
    """All tenants of a process, each opened when it is asked for first. Every method may be called from any thread."""

    def __init__(
        self,
        open_store: Callable[[str], SpanStore],
        queue_bytes: int,
        *,
        metrics: Metrics | None = None,
        build: Callable[[Tenant], Stage] | None = None,
    ) -> None:
        self._open_store = open_store
        self._queue_bytes = queue_bytes
        self.metrics = metrics or Metrics()
        self._build = build
        self._opened: dict[str, Tenant] = {}
        self._changing = threading.Lock()
        for name, text in (("spans", "Spans that wait to be written"), ("bytes", "Bytes of them")):
            self.metrics.watch(f"queue_{name}", text, ["tenant"], partial(self._queues, name))

    def _queues(self, attribute: str) -> list[tuple[tuple[str], float]]:
        return [((tenant.name,), getattr(tenant.queue, attribute)) for tenant in self.opened()]

    def get(self, name: str = DEFAULT_TENANT) -> Tenant:
        """The tenant of this name.

        Raises:
            ValueError: a name is 1 to 63 lowercase letters, digits, `-` and `_`, and begins with a letter or digit.
            StoreError: its store cannot be opened.
        """
        if (found := self._opened.get(name)) is not None:
            return found
        if not re.fullmatch(TENANT_NAME, name):
            raise ValueError(f"{name!r} is no tenant's name: 1 to 63 of a-z, 0-9, - and _, beginning with a-z or 0-9")
        with self._changing:
            if (found := self._opened.get(name)) is None:
                found = self._opened[name] = self._open(name)
            return found

    def _open(self, name: str) -> Tenant:
        store = self._open_store(name)
        try:
            return Tenant(name, store, self._queue_bytes, metrics=self.metrics, build=self._build)
        except BaseException:
            store.close()
            raise

    def find(self, name: str) -> Tenant | None:
        """The tenant of this name where it is open already."""
        return self._opened.get(name)

    def opened(self) -> list[Tenant]:
        """Those that are open, by name."""
        return [self._opened[name] for name in sorted(self._opened)]

    def close(self) -> None:
        """Close them all.

        Raises:
            StoreError: what could not be written, of each.
        """
        problems = []
        with self._changing:
            for tenant in self._opened.values():
                try:
                    tenant.close()
                except StoreError as error:
                    problems.append(f"{tenant.name}: {error}")
            self._opened.clear()
        if problems:
            raise StoreError("\n".join(problems))


def tenant_of(connection: HTTPConnection) -> Tenant:
    """The tenant of a request; a FastAPI dependency, too."""
    found: Tenant = connection.state.tenant
    return found
