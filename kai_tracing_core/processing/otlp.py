"""OTLP over HTTP (opentelemetry-proto, docs/specification.md): requests in protobuf and JSON, and their answers.

opentelemetry-proto is imported only for JSON and for an answer that says something; providers that use this depend
on it, the core does not.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kai_tracing_core.processing.http import HttpOptions, HttpSender
from kai_tracing_core.processing.otlp_encoding import encode_request
from kai_tracing_core.processing.processor import PayloadExporter
from kai_tracing_core.span import Span

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["OtlpHttpExporter", "encode_json", "read_refusal", "read_request"]

logger = logging.getLogger(__name__)


@functools.cache
def _messages() -> Any:
    try:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
    except ImportError as error:
        raise ImportError(
            "OTLP needs opentelemetry-proto, which comes with the providers that speak it: "
            'pip install "kai-tracing-core[opentelemetry]"'
        ) from error
    return trace_service_pb2


def read_request(payload: bytes) -> ExportTraceServiceRequest:
    """An encoded request as opentelemetry-proto's message.

    Raises:
        ImportError: opentelemetry-proto is not installed; the message says what to install.
    """
    return _messages().ExportTraceServiceRequest.FromString(payload)  # type: ignore[no-any-return]  # protobuf's classes are untyped


def encode_json(request: ExportTraceServiceRequest) -> bytes:
    """The request in OTLP's JSON: ids in hexadecimal, enumerations as integers, 64-bit integers as strings."""
    from google.protobuf.json_format import MessageToDict

    document = MessageToDict(request, use_integers_for_enums=True)
    for of_resource in document.get("resourceSpans", ()):
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                for holder in (span, *span.get("links", ())):
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if name in holder:
                            holder[name] = base64.b64decode(holder[name]).hex()
    return json.dumps(document, separators=(",", ":")).encode()


def read_refusal(answer: Any) -> int:
    """How many spans an `ExportTraceServiceResponse` says were refused for good ("Partial Success")."""
    partial = answer.partial_success
    if partial.error_message:
        logger.warning("the collector refused %d spans: %s", partial.rejected_spans, partial.error_message)
    return max(0, int(partial.rejected_spans))


class OtlpHttpExporter(PayloadExporter):
    """Posts OTLP requests, protobuf or (`json=True`) JSON, to `options.url`, which ends with `/v1/traces`."""

    def __init__(self, options: HttpOptions, *, json: bool = False) -> None:
        self.sender = HttpSender(options)
        self._json = json
        self.format = "json" if json else "protobuf"

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as a request's body."""
        payload = encode_request(spans)
        return encode_json(read_request(payload)) if self._json else payload

    def send(self, payload: bytes, timeout: float) -> int:
        """Post the body; returns how many spans the collector refused."""
        answer = self.sender.post(payload, "application/json" if self._json else "application/x-protobuf", timeout)
        return self._refused(answer) if answer else 0

    def _refused(self, answer: bytes) -> int:
        response = _messages().ExportTraceServiceResponse()
        try:
            # The answer has the request's encoding (section "OTLP/HTTP Response").
            if self._json:
                from google.protobuf.json_format import Parse

                Parse(answer, response, ignore_unknown_fields=True)
            else:
                response.ParseFromString(answer)
        except Exception as error:
            # The status said success: what else the collector says does not make the spans less delivered.
            logger.debug("%s: unreadable answer: %s", self.sender.options.url, error)
            return 0
        return read_refusal(response)

    def after_fork(self) -> None:
        """Let go of the parent's connection."""
        self.sender.after_fork()

    def shutdown(self) -> None:
        """Close the connection."""
        self.sender.close()
