"""Sampling strategies over HTTP: what a Jaeger agent serves on 5778, and a Jaeger collector on 14268."""

from __future__ import annotations

from http import HTTPStatus

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from kai_tracing_backend.sampling.strategies import Strategies
from kai_tracing_backend.tenants import tenant_of

__all__ = ["sampling_app", "sampling_routes"]

_PATHS = ("/sampling", "/api/sampling")


def sampling_routes(strategies: Strategies) -> list[Route]:
    """`GET /sampling?service=X` and `/api/sampling?service=X`; 400 unless one service is named."""

    async def answer(request: Request) -> Response:
        services = request.query_params.getlist("service")
        if len(services) != 1 or not services[0]:
            return PlainTextResponse("'service' must be given once", HTTPStatus.BAD_REQUEST)
        return JSONResponse(await run_in_threadpool(strategies.answer, tenant_of(request).name, services[0]))

    return [Route(path, answer, methods=["GET"]) for path in _PATHS]


def sampling_app(strategies: Strategies) -> Starlette:
    """An application of these routes alone."""
    return Starlette(routes=sampling_routes(strategies))
