"""When a call is sent again, and what its trace shows of that. Waiting and counting are tenacity's."""

from __future__ import annotations

import random
from dataclasses import dataclass
from time import monotonic
from typing import Any

import httpx
from tenacity import RetryCallState

from kai_tracing_core.failures import qualified_name
from kai_tracing_core.http.attempt import Attempt, ClientTracer
from kai_tracing_core.http.semconv import size
from kai_tracing_core.processing.retry import parse_retry_after
from kai_tracing_core.span import Span, SpanStatusCode

__all__ = ["Call", "Repetition", "RetryOptions"]

_SENDS = "kai_tracing.sends"
_TEMPLATE = "url_template"


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """Which calls are repeated, how often, and for how long; times in seconds.

    A call is repeated when its method is idempotent (RFC 9110, section 9.2.2), its body can be sent again, and the
    connection failed or one of `statuses` came back. The wait doubles from `initial` up to `maximum`, with jitter; a
    Retry-After goes first. No wait begins that would end after `deadline`, and what is repeated has no longer
    timeouts than what is left until then.
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

    def repeats(self, outcome: httpx.Response | BaseException) -> bool:
        """Whether what came of an attempt is a reason to try again."""
        if isinstance(outcome, httpx.Response):
            return outcome.status_code in self.statuses
        return isinstance(outcome, (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError))

    def wait(self, outcome: httpx.Response | BaseException, attempt: int) -> float:
        """How long to wait after what came of the attempt of this number."""
        if isinstance(outcome, httpx.Response):
            seconds = parse_retry_after(outcome.headers.get("retry-after"))
            if seconds is not None:
                return seconds
        ceiling = min(self.maximum, self.initial * 2.0 ** (attempt - 1))
        return ceiling * (0.5 + random.random() / 2)


class Call:
    """One request of the application: its attempts and, once there is a second one, the span around all of them."""

    __slots__ = ("_attempt", "_parent", "_request")

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._attempt: Attempt | None = None
        self._parent: Span | None = None

    def start(self, tracer: ClientTracer) -> Span:
        """Begin an attempt. Returns its span."""
        request = self._request
        extensions = request.extensions
        sends = extensions.get(_SENDS, 0)
        # Kept in the extensions since a redirect is another request of the same call, which inherits them.
        request.extensions = {**extensions, _SENDS: sends + 1}
        url = request.url
        self._attempt = tracer.start(
            request.method,
            str(url),
            scheme=url.scheme,
            host=url.host,
            port=url.port,
            headers=request.headers,
            length=_length(request.headers),
            template=extensions.get(_TEMPLATE),
            resends=sends,
            parent=self._parent,
        )
        return self._attempt.span

    def answered(self, response: httpx.Response) -> None:
        """A response's head has come."""
        if self._attempt is not None:
            version = response.extensions.get("http_version", b"").decode("ascii", "replace").removeprefix("HTTP/")
            self._attempt.answered(response.status_code, response.headers, version, _length(response.headers))

    def failed(self, error: BaseException) -> None:
        """The attempt under way failed; it ends when it is clear whether there will be another one."""
        if self._attempt is not None:
            self._attempt.failed(error)

    def repeat(self, outcome: httpx.Response | BaseException, attempt: int, delay: float) -> None:
        """There will be another attempt, the one of this number, `delay` seconds from now."""
        if self._attempt is None:
            return
        if self._parent is None:
            self._parent = self._attempt.surround(f"{self._attempt.span.name} with retries")
        reason = str(outcome.status_code) if isinstance(outcome, httpx.Response) else qualified_name(type(outcome))
        self._parent.add_event("retry", {"retry.reason": reason, "retry.delay": delay, "retry.attempt": attempt})
        self._attempt.end()
        self._attempt = None  # so that closing its response is not the end of the call

    def end(self) -> None:
        """The attempt under way was the last one, and is over; without one, do nothing."""
        if self._attempt is not None:
            self.give_up()

    def give_up(self) -> None:
        """The call is over, whether in an attempt or between two; later calls do nothing."""
        attempt, parent = self._attempt, self._parent
        if attempt is not None:
            if parent is not None and attempt.span.status is SpanStatusCode.ERROR:
                parent.set_attribute("error.type", attempt.span.attributes.get("error.type", "_OTHER"))
                parent.set_status(SpanStatusCode.ERROR, attempt.span.status_message)
            attempt.end()
        if parent is not None:
            parent.end()


def _length(headers: httpx.Headers) -> int | None:
    """What Content-Length says; at half the cost of asking for the header."""
    for name, value in headers.raw:
        if name.lower() == b"content-length":
            return size(value)
    return None


class Repetition:
    """The attempts of a call after the first. That one is made without tenacity, which costs more than a span."""

    __slots__ = ("_call", "_deadline", "_first", "_options", "_request")

    def __init__(
        self,
        options: RetryOptions,
        call: Call,
        request: httpx.Request,
        first: httpx.Response | BaseException,
        begun: float,
    ) -> None:
        """`first` is what came of the first attempt, which began at `begun` of the monotonic clock."""
        self._options = options
        self._call = call
        self._request = request
        self._first: httpx.Response | BaseException | None = first
        self._deadline = begun + options.deadline

    def policy(self) -> dict[str, Any]:
        """The arguments of tenacity's `Retrying` and `AsyncRetrying`, apart from `before_sleep`."""
        options = self._options
        return {
            "wait": lambda state: options.wait(_outcome(state), state.attempt_number),
            "retry": lambda state: options.repeats(_outcome(state)),
            "stop": lambda state: (
                state.attempt_number >= options.attempts or monotonic() + state.upcoming_sleep >= self._deadline
            ),
            # After the last attempt the caller gets its response or its exception, as without retries.
            "retry_error_callback": lambda state: state.outcome.result(),
        }

    def first(self) -> httpx.Response | None:
        """When asked first, what came of the first attempt, raised if it was an exception; then None."""
        outcome, self._first = self._first, None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def prepare(self, state: RetryCallState) -> httpx.Response | None:
        """Make ready for the next attempt, before the wait. Returns the response that is to be closed, if there is."""
        outcome = _outcome(state)
        self._call.repeat(outcome, state.attempt_number + 1, state.upcoming_sleep)
        left = max(0.0, self._deadline - monotonic() - state.upcoming_sleep)
        before = self._request.extensions.get("timeout", {})
        timeouts = {
            kind: left if before.get(kind) is None else min(before[kind], left)
            for kind in ("connect", "read", "write", "pool")
        }
        self._request.extensions = {**self._request.extensions, "timeout": timeouts}
        return outcome if isinstance(outcome, httpx.Response) else None


def _outcome(state: RetryCallState) -> httpx.Response | BaseException:
    """What came of the attempt that has just been made."""
    outcome: Any = state.outcome
    error: BaseException | None = outcome.exception()
    return outcome.result() if error is None else error
