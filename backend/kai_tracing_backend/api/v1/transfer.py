"""Traces as files: out in any format, and in again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from kai_tracing_backend.api.errors import NotFoundError
from kai_tracing_backend.api.parameters import ParameterError
from kai_tracing_backend.api.traces import find, normal_id
from kai_tracing_backend.api.v1.asking import Asking, LastHour, router_of
from kai_tracing_backend.api.v1.models import Failure
from kai_tracing_backend.api.v1.retention import TraceIdPath, keep_time
from kai_tracing_backend.api.v1.search import QueryText
from kai_tracing_backend.collector.importing import decode
from kai_tracing_backend.collector.intake import MAX_BODY, gunzip
from kai_tracing_backend.collector.refusals import RefusedError
from kai_tracing_backend.formats.exporting import FORMATS
from kai_tracing_backend.language.parser import parse
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.storage.duckdb.reading import DAY, EPOCH
from kai_tracing_backend.storage.queue import QueueFullError
from kai_tracing_backend.tenants import Tenant

__all__ = ["router"]

router = router_of("transfer")

_COMMIT = 120  # seconds that one may take
_RECENT = 2 * DAY  # days that are younger are nobody's but the policy's

FormatName = Annotated[
    Literal["otlp", "zipkin", "jaeger", "chrome", "html"], Query(alias="format", description="What to write.")
]
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {one.media_type.partition(";")[0]: {} for one in FORMATS.values()},
    },
    404: {"model": Failure, "description": "There is no such trace."},
}
_REFUSED: dict[int | str, dict[str, Any]] = {
    413: {"model": Failure, "description": "More than 64 MiB: send it in parts."},
    429: {"model": Failure, "description": "Too many spans wait to be written."},
}


@router.get("/traces/{trace_id}/export", responses=_FILE, response_class=StreamingResponse)
def export_trace(trace_id: TraceIdPath, tenant: Asking, kind: FormatName = "otlp") -> StreamingResponse:
    """One trace as a file."""
    trace_id = normal_id("trace_id", trace_id)
    if not (spans := tenant.store.trace(trace_id)):
        raise NotFoundError(f"there is no trace {trace_id}")
    return _file([spans].__iter__(), kind, trace_id)


@router.get("/export", responses=_FILE, response_class=StreamingResponse)
def export(
    tenant: Asking,
    window: LastHour,
    q: QueryText = "{ }",
    limit: Annotated[int, Query(ge=1, le=1_500, description="How many traces at most.")] = 100,
    kind: FormatName = "otlp",
) -> StreamingResponse:
    """The whole traces that a search finds, newest first, as one file: up to `limit`, and about 200,000 spans."""
    return _file(find(tenant.store, parse(q), *window, limit), kind, "traces")


def _file(traces: Iterator[list[StoredSpan]], kind: str, name: str) -> StreamingResponse:
    """An answer of which the first piece is there already, so that an error can still be one."""
    chosen = FORMATS[kind]
    found = list(itertools.islice(traces, 1))
    pieces = chosen.write(itertools.chain(found, traces))
    first = list(itertools.islice(pieces, 1))
    headers = {"Content-Disposition": f'attachment; filename="{name}.{chosen.extension}"'}
    if not found:
        headers["X-No-Traces"] = "true"  # which not every format shows
    return StreamingResponse(itertools.chain(first, pieces), media_type=chosen.media_type, headers=headers)


@router.post("/import", responses=_REFUSED, response_model=None)
async def import_file(
    request: Request,
    tenant: Asking,
    kind: Annotated[
        Literal["otlp", "zipkin", "jaeger"] | None,
        Query(alias="format", description="What the file is; told by its content by default."),
    ] = None,
    keep: Annotated[str, Query(max_length=20, description="How long no sweep takes old traces: 12h, 7d.")] = "7d",
) -> dict[str, Any] | JSONResponse:
    """Store the spans of a file: OTLP (JSON, JSON Lines or protobuf), Zipkin v2 JSON, Jaeger JSON; plain or gzip.

    Spans that are not valid are left out and counted. No sampling is applied. Days of more than two days ago are held
    from the sweeper for `keep`, since they might be due at once.
    """
    held = keep_time(keep)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return _failed(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY} bytes: send it in parts")
    try:
        return await run_in_threadpool(_import, tenant, bytes(body), kind, held)
    except RefusedError as error:
        return _failed(error.status, error.message)
    except QueueFullError as error:
        return _failed(HTTPStatus.TOO_MANY_REQUESTS, str(error))


def _import(tenant: Tenant, body: bytes, kind: str | None, held: int) -> dict[str, Any]:
    if body[:2] == b"\x1f\x8b":
        body = gunzip(body)
    try:
        tables, accepted = decode(body, kind)
    except ValueError as error:
        raise ParameterError("file", str(error)) from error
    for table in tables:
        _hold(tenant, table, held)
    for future in [tenant.queue.submit(table) for table in tables]:
        future.result(_COMMIT)
    return {
        "accepted": sum(table.num_rows for table in tables),
        "rejected": accepted.rejected,
        "message": accepted.message,
    }


def _hold(tenant: Tenant, table: pa.Table, held: int) -> None:
    """Keep old days from the sweeper before the spans are there."""
    now = time.time_ns()
    for number in pc.unique(pc.divide(table["start_time"], DAY)).to_pylist():
        if (number + 1) * DAY < now - _RECENT:
            tenant.store.retention.marks.hold(EPOCH + timedelta(days=number), now + held)


def _failed(status: HTTPStatus, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)
