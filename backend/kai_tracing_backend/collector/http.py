"""The receivers over HTTP: OTLP (port 4318) and Zipkin (port 9411)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from kai_tracing_backend.access.guard import DeniedError
from kai_tracing_backend.collector import otlp, zipkin
from kai_tracing_backend.collector.intake import Intake
from kai_tracing_backend.collector.refusals import RefusedError, rpc_status

__all__ = ["otlp_app", "otlp_refusal", "zipkin_app"]

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"


def otlp_app(intake: Intake) -> Starlette:
    """`POST /v1/traces` (OTLP/HTTP)."""

    async def traces(request: Request) -> Response:
        kind = _content_type(request.headers)
        try:
            if kind not in (_PROTOBUF, _JSON):
                raise RefusedError(  # noqa: TRY301 - answered like the others
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {_PROTOBUF} or {_JSON}"
                )
            accepted = await intake.store(request, otlp.decode_json if kind == _JSON else otlp.decode_protobuf)
        except RefusedError as error:
            return _refusal(error, kind)
        if kind == _JSON:
            answer: dict[str, Any] = {}
            if accepted.rejected:
                answer = {"partialSuccess": {"rejectedSpans": str(accepted.rejected), "errorMessage": accepted.message}}
            return Response(json.dumps(answer), media_type=_JSON)
        response = ExportTraceServiceResponse()
        if accepted.rejected:
            response.partial_success.rejected_spans = accepted.rejected
            response.partial_success.error_message = accepted.message
        return Response(response.SerializeToString(), media_type=_PROTOBUF)

    return Starlette(routes=[Route("/v1/traces", traces, methods=["POST"])])


def zipkin_app(intake: Intake, others: Sequence[BaseRoute] = ()) -> Starlette:
    """`POST /api/v2/spans` (Zipkin v2 JSON): 202 for what was stored, 400 where no span of it could be.

    `others` are what else is on its port.
    """

    async def spans(request: Request) -> Response:
        kind = _content_type(request.headers)
        try:
            if kind not in (_JSON, ""):
                raise RefusedError(  # noqa: TRY301 - answered like the others
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {_JSON}"
                )
            counted = 0

            def decode(body: bytes) -> Any:
                nonlocal counted
                columns, accepted = zipkin.decode(body)
                counted = len(columns)
                return columns, accepted

            accepted = await intake.store(request, decode)
            if accepted.rejected and not counted:
                raise RefusedError(HTTPStatus.BAD_REQUEST, accepted.message)  # noqa: TRY301 - as above
        except RefusedError as error:
            return PlainTextResponse(error.message, error.status, _headers(error))
        return PlainTextResponse(accepted.message, HTTPStatus.ACCEPTED)

    return Starlette(routes=[Route("/api/v2/spans", spans, methods=["POST"]), *others])


def otlp_refusal(headers: Headers, error: DeniedError) -> Response:
    """What a sender of OTLP gets that access control does not let in."""
    answer = _refusal(RefusedError(error.status, error.message, error.retry_after), _content_type(headers))
    answer.headers.update(error.headers)
    return answer


def _content_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _headers(error: RefusedError) -> dict[str, str]:
    return {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}


def _refusal(error: RefusedError, kind: str) -> Response:
    """A `Status` in the request's encoding (OTLP, "Failures")."""
    status = rpc_status(error)
    if kind == _PROTOBUF:
        return Response(status.SerializeToString(), error.status, _headers(error), _PROTOBUF)
    document = json.dumps({"code": status.code, "message": status.message})
    return Response(document, error.status, _headers(error), _JSON)
