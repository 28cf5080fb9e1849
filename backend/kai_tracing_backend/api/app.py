"""What the API's port serves: the project's own API, and those of Zipkin, Jaeger and Tempo, each from its module."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kai_tracing_backend.api import health, jaeger, jaeger_metrics, jaeger_v3, reference, tempo, zipkin
from kai_tracing_backend.api.errors import KNOWN, problem_of
from kai_tracing_backend.api.v1 import (
    archive,
    attributes,
    catalog,
    rates,
    retention,
    search,
    tokens,
    traces,
    transfer,
    verdicts,
)

__all__ = ["api_app"]

_ROUTERS = (
    reference.router,
    health.router,
    traces.router,
    search.router,
    search.validation,
    catalog.router,
    attributes.router,
    rates.router,
    retention.router,
    archive.router,
    verdicts.router,
    tokens.router,
    transfer.router,
)
_OTHERS = (zipkin, jaeger, jaeger_metrics, jaeger_v3, tempo)


def api_app() -> FastAPI:
    """All of it; `limits.QueryLimits` goes before it.

    Errors of the own API are `{"error": message}`, with `parameter` where one is wrong.
    """
    app = FastAPI(
        title="kai-tracing",
        summary="Traces, their spans, and what can be counted of them.",
        version=version("kai-tracing-backend"),
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    for router in _ROUTERS:
        app.include_router(router)
    for other in _OTHERS:
        app.router.routes.extend(other.routes())
    for kind in KNOWN:
        app.add_exception_handler(kind, _explained)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    return app


async def _explained(request: Request, error: Exception) -> JSONResponse:
    problem = problem_of(error)
    return JSONResponse({"error": problem.message, **problem.details}, problem.status, problem.headers)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it; Starlette types handlers for any
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """What FastAPI found wrong; the first of it."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    fault = error.errors()[0]
    name = _parameter(fault["loc"])
    message = f"{name}: {fault['msg']}" if name else fault["msg"]
    return JSONResponse({"error": message, "parameter": name}, HTTPStatus.BAD_REQUEST)


def _parameter(place: Sequence[Any]) -> str | None:
    """`("query", "limit")` without what kind of parameter it is."""
    return ".".join(map(str, place[1:])) or None
