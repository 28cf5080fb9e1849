"""What the API's port serves: one router for each API."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kai_tracing_backend.api import health, v1
from kai_tracing_backend.storage.contract import StoreError

__all__ = ["api_app"]


def api_app() -> FastAPI:
    """The routers put together. Every error is `{"error": message}`."""
    app = FastAPI(title="kai-tracing", version=version("kai-tracing-backend"), docs_url=None, redoc_url=None)
    app.include_router(health.router)
    app.include_router(v1.router)
    app.add_exception_handler(StoreError, _unavailable)
    app.add_exception_handler(HTTPException, _refused)
    return app


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it; Starlette types handlers for any
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)
