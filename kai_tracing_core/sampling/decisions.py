"""How the tail samplers of several services agree on a trace: a channel of verdicts by trace id.

The protocol of the HTTP one, for a server of verdicts (bodies are JSON, trace ids 32 hexadecimal digits):

- `POST {url}` `{"decisions": [{"traceId": "…", "keep": true, "probability": 0.25}]}` publishes; the answer is 2xx.
- `POST {url}/query` `{"traceIds": ["…"]}` asks; the answer is 200 and the decisions that are known, in the same form.

A server keeps a verdict for as long as traces take (a minute will do) and may forget the oldest.
"""

from __future__ import annotations

import http.client
import json
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from kai_tracing_core.sampling.forking import after_fork

__all__ = ["DecisionChannel", "HttpDecisionChannel", "InProcessDecisionChannel", "Verdict"]

_MAX_ANSWER = 4 * 1024 * 1024


class Verdict(NamedTuple):
    """What became of a trace at its root: whether it is kept, and with which probability it was chosen."""

    keep: bool
    probability: float


class DecisionChannel(ABC):
    """Carries the verdicts of the process that has a trace's root to the others that have parts of it.

    Called on the tail sampler's own thread, never on the application's. What it raises is counted and tried again;
    a verdict that does not arrive in time is replaced by one's own.
    """

    @abstractmethod
    def publish(self, verdicts: Mapping[int, Verdict]) -> None:
        """Tell the others, by trace id."""

    @abstractmethod
    def poll(self, trace_ids: Collection[int]) -> Mapping[int, Verdict]:
        """The verdicts that are known of these traces."""

    def close(self) -> None:
        """Release connections."""


class InProcessDecisionChannel(DecisionChannel):
    """Verdicts for several providers in one process; keeps the last `limit` of them."""

    def __init__(self, *, limit: int = 10_000) -> None:
        self._limit = limit
        self._verdicts: OrderedDict[int, Verdict] = OrderedDict()
        self.after_fork()
        after_fork(self)

    def after_fork(self) -> None:
        """Use a lock that nobody holds."""
        self._lock = threading.Lock()

    def publish(self, verdicts: Mapping[int, Verdict]) -> None:
        """Remember them, and forget the oldest past the limit."""
        with self._lock:
            self._verdicts.update(verdicts)
            while len(self._verdicts) > self._limit:
                self._verdicts.popitem(last=False)

    def poll(self, trace_ids: Collection[int]) -> Mapping[int, Verdict]:
        """Those that are remembered."""
        with self._lock:
            return {trace_id: self._verdicts[trace_id] for trace_id in trace_ids if trace_id in self._verdicts}


class HttpDecisionChannel(DecisionChannel):
    """Verdicts by way of a server, such as the trace backend; the module says what is sent."""

    def __init__(self, url: str, *, timeout: float = 2.0, headers: Mapping[str, str] | None = None) -> None:
        """`timeout` is in seconds, for each request; `headers` may carry an authorization."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a decision channel needs an http or https URL")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._timeout = timeout
        self._headers = {**(headers or {}), "Content-Type": "application/json", "Accept": "application/json"}

    def publish(self, verdicts: Mapping[int, Verdict]) -> None:
        """Send them in one request."""
        self._post(
            self._path or "/",
            {
                "decisions": [
                    {"traceId": f"{trace_id:032x}", "keep": verdict.keep, "probability": verdict.probability}
                    for trace_id, verdict in verdicts.items()
                ]
            },
        )

    def poll(self, trace_ids: Collection[int]) -> Mapping[int, Verdict]:
        """Ask for them in one request. What is malformed in the answer is left out."""
        answer = self._post(f"{self._path}/query", {"traceIds": [f"{trace_id:032x}" for trace_id in trace_ids]})
        decisions = json.loads(answer)["decisions"]
        return dict(filter(None, map(_parse, decisions)))

    def _post(self, path: str, body: Any) -> bytes:
        connection = self._kind(self._host, self._port, timeout=self._timeout)
        try:
            connection.request("POST", path, json.dumps(body), self._headers)
            response = connection.getresponse()
            answer = response.read(_MAX_ANSWER)
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise OSError(f"the decision channel at {self._host} answered {response.status}")
        return answer


def _parse(decision: Any) -> tuple[int, Verdict] | None:
    try:
        chance = float(decision.get("probability", 1.0 if decision["keep"] else 0.0))
        if not 0.0 <= chance <= 1.0:
            return None
        return int(decision["traceId"], 16), Verdict(bool(decision["keep"]), chance)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
