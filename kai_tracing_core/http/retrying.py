"""When a call is sent again, and what its trace shows of that. Waiting and counting are tenacity's."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import httpx
from tenacity import RetryCallState, stop_after_attempt, stop_any, stop_before_delay

from kai_tracing_core.failures import qualified_name
from kai_tracing_core.http.attempt import Attempt, ClientTracer
from kai_tracing_core.processing.retry import parse_retry_after
from kai_tracing_core.span import Span, SpanStatusCode

__all__ = ["Call", "RetryOptions"]

_SENDS = "kai_tracing.sends"
_TEMPLATE = "url_template"


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """Which calls are repeated, how often, and for how long; times in seconds.

    A call is repeated when its method is idempotent (RFC 9110, section 9.2.2), its body can be sent again, and the
    connection failed or one of `statuses` came back. The wait doubles from `initial` up to `maximum`, with jitter; a
    Retry-After goes first. No wait begins that would end after `deadline`.
    """

    attempts: int = 3
    initial: float = 0.1
    maximum: float = 5.0
    deadline: float = 30.0
    statuses: frozenset[int] = frozenset((429, 502, 503, 504))
    methods: frozenset[str] = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))

    def allows(self, request: httpx.Request) -> bool:
        """Whether the request may be sent more than once."""
        return self.attempts > 1 and request.method in self.methods and isinstance(request.stream, httpx.ByteStream)

    def wait(self, state: RetryCallState) -> float:
        """How long to wait before the next attempt."""
        outcome = state.outcome
        if outcome is not None and not outcome.failed:
            seconds = parse_retry_after(outcome.result().headers.get("retry-after"))
            if seconds is not None:
                return seconds
        ceiling = min(self.maximum, self.initial * 2.0 ** (state.attempt_number - 1))
        return ceiling * (0.5 + random.random() / 2)

    def repeats(self, state: RetryCallState) -> bool:
        """Whether what came of the last attempt is a reason to try again."""
        outcome = state.outcome
        if outcome is None:
            return False
        if outcome.failed:
            return isinstance(
                outcome.exception(), (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)
            )
        return outcome.result().status_code in self.statuses

    def policy(self) -> dict[str, Any]:
        """The arguments of tenacity's `Retrying` and `AsyncRetrying`, apart from `before_sleep`."""
        return {
            "wait": self.wait,
            "retry": self.repeats,
            "stop": stop_any(stop_after_attempt(self.attempts), stop_before_delay(self.deadline)),
            # After the last attempt the caller gets its response or its exception, as without retries.
            "retry_error_callback": lambda state: state.outcome.result(),
        }


class Call:
    """One request of the application: its attempts and, once there is a second one, the span around all of them."""

    __slots__ = ("_attempt", "_parent", "_request", "_tracer")

    def __init__(self, tracer: ClientTracer | None, request: httpx.Request) -> None:
        self._tracer = tracer
        self._request = request
        self._attempt: Attempt | None = None
        self._parent: Span | None = None

    @property
    def span(self) -> Span | None:
        """The span of the attempt that is under way; None where nothing is traced."""
        return self._attempt.span if self._attempt is not None else None

    def start(self) -> None:
        """Begin an attempt."""
        if self._tracer is None:
            return
        request = self._request
        sends = request.extensions.get(_SENDS, 0)
        # Kept in the extensions since a redirect is another request of the same call, which inherits them.
        request.extensions = {**request.extensions, _SENDS: sends + 1}
        url = request.url
        self._attempt = self._tracer.start(
            request.method,
            str(url),
            scheme=url.scheme,
            host=url.host,
            port=url.port,
            headers=request.headers,
            template=request.extensions.get(_TEMPLATE),
            resends=sends,
            parent=self._parent,
        )

    def answered(self, response: httpx.Response) -> None:
        """A response's head has come."""
        if self._attempt is not None:
            version = response.extensions.get("http_version", b"").decode("ascii", "replace").removeprefix("HTTP/")
            self._attempt.answered(response.status_code, response.headers, version)

    def failed(self, error: BaseException) -> None:
        """The attempt under way failed; it ends when it is clear whether there will be another one."""
        if self._attempt is not None:
            self._attempt.failed(error)

    def again(self, state: RetryCallState) -> None:
        """There will be another attempt, after the wait that `state` knows."""
        attempt, tracer, outcome = self._attempt, self._tracer, state.outcome
        if attempt is None or tracer is None or outcome is None:
            return
        if self._parent is None:
            method = attempt.span.attributes.get("http.request.method", self._request.method)
            self._parent = tracer.service.span(
                f"{method} with retries",
                attributes={"http.request.method": method, **tracer.attributes},
                start_time=attempt.span.start_time,
                record_exception=False,
            )
        attempt.adopt(self._parent)
        error = outcome.exception()
        reason = str(outcome.result().status_code) if error is None else qualified_name(type(error))
        delay = state.next_action.sleep if state.next_action is not None else 0.0
        self._parent.add_event(
            "retry", {"retry.reason": reason, "retry.delay": delay, "retry.attempt": state.attempt_number + 1}
        )
        attempt.end()
        self._attempt = None

    def end(self) -> None:
        """The last attempt is over, and so is the call; later calls do nothing."""
        attempt, parent = self._attempt, self._parent
        if attempt is None:
            return
        if parent is not None and attempt.span.status is SpanStatusCode.ERROR:
            parent.set_attribute("error.type", attempt.span.attributes.get("error.type", "_OTHER"))
            parent.set_status(SpanStatusCode.ERROR, attempt.span.status_message)
        attempt.end()
        if parent is not None:
            parent.end()
