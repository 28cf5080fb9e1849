"""HTTP: a traced client, and middleware for servers."""

from typing import TYPE_CHECKING, Any

from kai_tracing_core.http.asgi import TracingMiddleware
from kai_tracing_core.http.wsgi import TracingWsgiMiddleware

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
_LAZY = {
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
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        extra = "requests" if error.name == "requests" else "http"
        raise ImportError(
            f"{name} needs {error.name}, which is not installed: pip install 'kai-tracing-core[{extra}]'"
        ) from error
    globals()[name] = value
    return value
