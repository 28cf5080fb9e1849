"""The receivers over HTTP: OTLP (port 4318), Zipkin (port 9411) and Jaeger's collector (port 14268)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from kai_tracing_backend.access.guard import DeniedError
from kai_tracing_backend.collector import jaeger, otlp, zipkin
from kai_tracing_backend.collector.intake import Decode, Intake
from kai_tracing_backend.collector.refusals import RefusedError, rpc_status
from kai_tracing_backend.collector.zipkin_protobuf import decode_protobuf
from kai_tracing_backend.collector.zipkin_thrift import decode_thrift
from kai_tracing_backend.collector.zipkin_v1 import decode_v1

__all__ = ["jaeger_app", "otlp_app", "otlp_refusal", "zipkin_app"]


_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_THRIFT = ("application/x-thrift", "application/vnd.apache.thrift.binary")


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

    return _receiver("/v1/traces", [Route("/v1/traces", traces, methods=["POST"])])


def zipkin_app(intake: Intake, others: Sequence[BaseRoute] = ()) -> Starlette:
    """`POST /api/v2/spans` (JSON, protobuf), `/api/v1/spans` (JSON, thrift). `others` are what else is on its port."""
    v2 = {_JSON: zipkin.decode, "": zipkin.decode, _PROTOBUF: decode_protobuf}
    v1 = {_JSON: decode_v1, "": decode_v1, **dict.fromkeys(_THRIFT, decode_thrift)}
    receivers = [_plain("/api/v2/spans", intake, v2), _plain("/api/v1/spans", intake, v1)]
    return _receiver("/api/v2/spans", [*receivers, *others])


def jaeger_app(intake: Intake, others: Sequence[BaseRoute] = ()) -> Starlette:
    """`POST /api/traces` (a Jaeger collector's: thrift, binary protocol). `others` are what else is on its port."""
    return _receiver("/api/traces", [_plain("/api/traces", intake, dict.fromkeys(_THRIFT, jaeger.decode)), *others])


def _receiver(path: str, routes: Sequence[BaseRoute]) -> Starlette:
    """An application that tells who comes to another path where spans are taken."""

    async def elsewhere(request: Request, error: Exception) -> Response:
        message = f"there is no {request.url.path[:200]} here: this port takes spans, by POST to {path}"
        return PlainTextResponse(message, HTTPStatus.NOT_FOUND)

    return Starlette(routes=routes, exception_handlers={HTTPStatus.NOT_FOUND: elsewhere})


def _plain(path: str, intake: Intake, decoders: Mapping[str, Decode]) -> Route:
    """A receiver that answers in words: 202 for what was stored, 400 where no span of it could be."""
    wanted = f"Content-Type must be {' or '.join(filter(None, decoders))}"

    async def spans(request: Request) -> Response:
        try:
            if (decode := decoders.get(_content_type(request.headers))) is None:
                raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, wanted)  # noqa: TRY301 - answered like the others
            accepted = await intake.store(request, decode)
            if accepted.rejected and not accepted.valid:
                raise RefusedError(HTTPStatus.BAD_REQUEST, accepted.message)  # noqa: TRY301 - as above
        except RefusedError as error:
            return PlainTextResponse(error.message, error.status, _headers(error))
        return PlainTextResponse(accepted.message, HTTPStatus.ACCEPTED)

    return Route(path, spans, methods=["POST"])


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
