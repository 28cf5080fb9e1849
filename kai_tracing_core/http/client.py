"""The API client: httpx with tracing and retries built in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from kai_tracing_core.attributes import Attributes
from kai_tracing_core.http.attempt import ClientTracer
from kai_tracing_core.http.retrying import RetryOptions
from kai_tracing_core.http.transport import AsyncTracingTransport, TracingTransport
from kai_tracing_core.service import TracingService

__all__ = [
    "ApiClient",
    "AsyncApiClient",
    "create_api_client",
    "create_async_api_client",
]

_RETRY = RetryOptions()


class ApiClient(httpx.Client):
    """An `httpx.Client` each of whose requests is traced; made by `create_api_client`."""

    def __init__(self, tracer: ClientTracer | None, retry: RetryOptions | None, **options: Any) -> None:
        super().__init__(**options)

        def wrap(transport: httpx.BaseTransport) -> httpx.BaseTransport:
            return TracingTransport(transport, tracer=tracer, retry=retry)

        # Only the client itself knows which transports its options and the proxy variables make.
        self._transport = wrap(self._transport)
        self._mounts = {pattern: mount and wrap(mount) for pattern, mount in self._mounts.items()}


class AsyncApiClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` each of whose requests is traced; made by `create_async_api_client`."""

    def __init__(self, tracer: ClientTracer | None, retry: RetryOptions | None, **options: Any) -> None:
        super().__init__(**options)

        def wrap(transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
            return AsyncTracingTransport(transport, tracer=tracer, retry=retry)

        self._transport = wrap(self._transport)
        self._mounts = {pattern: mount and wrap(mount) for pattern, mount in self._mounts.items()}


def create_api_client(
    *,
    use_tracing: bool = True,
    tracing_attributes: Attributes | None = None,
    retry: RetryOptions | None = _RETRY,
    service: TracingService | None = None,
    capture_request_headers: Sequence[str] = (),
    capture_response_headers: Sequence[str] = (),
    **options: Any,
) -> ApiClient:
    """A client whose every request is traced and, where that is safe, repeated when it fails.

        client = create_api_client(base_url="https://api.example.com", tracing_attributes={"client.version": "1.0"})
        client.get("/users/7", extensions={"url_template": "/users/{id}"})

    `use_tracing=False` makes no spans and sends no headers; `retry=None` repeats nothing. `tracing_attributes` are set
    on every span. All else is httpx's: `base_url`, `timeout`, `headers`, `http2=True`, `verify`, `proxy`, …
    """
    tracer = _tracer(use_tracing, service, tracing_attributes, capture_request_headers, capture_response_headers)
    return ApiClient(tracer, retry, **options)


def create_async_api_client(
    *,
    use_tracing: bool = True,
    tracing_attributes: Attributes | None = None,
    retry: RetryOptions | None = _RETRY,
    service: TracingService | None = None,
    capture_request_headers: Sequence[str] = (),
    capture_response_headers: Sequence[str] = (),
    **options: Any,
) -> AsyncApiClient:
    """As `create_api_client`, for asyncio and trio."""
    tracer = _tracer(use_tracing, service, tracing_attributes, capture_request_headers, capture_response_headers)
    return AsyncApiClient(tracer, retry, **options)


def _tracer(
    use_tracing: bool,
    service: TracingService | None,
    attributes: Attributes | None,
    request_headers: Sequence[str],
    response_headers: Sequence[str],
) -> ClientTracer | None:
    if not use_tracing:
        return None
    return ClientTracer(
        service,
        attributes=attributes,
        capture_request_headers=request_headers,
        capture_response_headers=response_headers,
    )
