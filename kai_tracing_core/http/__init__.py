"""HTTP: a traced client, and middleware for servers."""

from typing import TYPE_CHECKING

from kai_tracing_core.http.asgi import TracingMiddleware
from kai_tracing_core.http.wsgi import TracingWsgiMiddleware
from kai_tracing_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kai_tracing_core.http.attempt import ClientTracer
    from kai_tracing_core.http.client import ApiClient, AsyncApiClient, create_api_client, create_async_api_client
    from kai_tracing_core.http.defaults import api_client, async_api_client
    from kai_tracing_core.http.requests_adapter import TracingAdapter
    from kai_tracing_core.http.retrying import RetryOptions
    from kai_tracing_core.http.transport import AsyncTracingTransport, TracingTransport

__all__ = [
    "ApiClient",
    "AsyncApiClient",
    "AsyncTracingTransport",
    "ClientTracer",
    "RetryOptions",
    "TracingAdapter",
    "TracingMiddleware",
    "TracingTransport",
    "TracingWsgiMiddleware",
    "api_client",
    "async_api_client",
    "create_api_client",
    "create_async_api_client",
]

# Imported when they are asked for, since the middleware needs neither httpx nor requests.
__getattr__ = lazy_exports(
    __name__,
    {
        "ApiClient": "client",
        "AsyncApiClient": "client",
        "AsyncTracingTransport": "transport",
        "ClientTracer": "attempt",
        "RetryOptions": "retrying",
        "TracingAdapter": "requests_adapter",
        "TracingTransport": "transport",
        "api_client": "defaults",
        "async_api_client": "defaults",
        "create_api_client": "client",
        "create_async_api_client": "client",
    },
    extras={"anyio": "http", "httpx": "http", "requests": "requests", "tenacity": "http"},
)
