"""A requests adapter that traces what passes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from kai_tracing_core.http.attempt import Attempt, ClientTracer
from kai_tracing_core.http.semconv import size

__all__ = ["TracingAdapter"]

_SENDS = "kai_tracing.sends"
_VERSIONS = {10: "1.0", 11: "1.1", 20: "2"}


class TracingAdapter(HTTPAdapter):
    """Traces the requests of a session.

        session = requests.Session()
        session.mount("https://", TracingAdapter())
        session.mount("http://", TracingAdapter())

    One CLIENT span for each request, redirects included; it ends when the response's body was read or closed. What
    `max_retries` repeats stays inside one span, as an event for each. The other arguments are `HTTPAdapter`'s.
    """

    def __init__(self, *args: Any, tracer: ClientTracer | None = None, **options: Any) -> None:
        self._tracer = tracer or ClientTracer()
        super().__init__(*args, **options)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send the request; arguments, result and exceptions are those of `HTTPAdapter.send`."""
        tracer = self._tracer
        parts = urlsplit(request.url or "")
        # The requests of a chain of redirects share this dictionary, and nothing else.
        hooks: dict[str, Any] = request.hooks
        sends = hooks[_SENDS] = hooks.get(_SENDS, -1) + 1
        attempt = tracer.start(
            request.method or "",
            request.url or "",
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port,
            headers=cast("MutableMapping[str, str]", request.headers),
            length=size(request.headers.get("content-length")),
            resends=sends,
        )
        try:
            with tracer.service.use_context(attempt.span):
                response = super().send(request, *args, **options)
        except BaseException as error:
            attempt.failed(error)
            attempt.end()
            raise
        raw = response.raw
        for retry in getattr(getattr(raw, "retries", None), "history", ()):
            reason = str(retry.status or type(retry.error).__name__)
            attempt.span.add_event("retry", {"retry.reason": reason})
        version = _VERSIONS.get(getattr(raw, "version", 0))
        attempt.answered(response.status_code, response.headers, version, size(response.headers.get("content-length")))
        _end_with(raw, attempt)
        return response


def _end_with(raw: Any, attempt: Attempt) -> None:
    """End the attempt when urllib3's response was read to its end, failed, or was given up."""
    stream: Callable[..., Iterator[bytes]] = raw.stream
    release: Callable[[], None] = raw.release_conn
    reading = False

    def released() -> None:
        release()
        if not reading:  # an error that ends the reading is released first, and known later
            attempt.end()

    def streamed(*args: Any, **options: Any) -> Iterator[bytes]:
        nonlocal reading
        parts = stream(*args, **options)
        while True:
            reading = True
            try:
                part = next(parts)
            except StopIteration:
                attempt.end()
                return
            except BaseException as error:
                attempt.failed(error)
                attempt.end()
                raise
            finally:
                reading = False
            yield part

    raw.stream = streamed
    raw.release_conn = released
