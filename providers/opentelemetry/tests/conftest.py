"""Real collectors that decode what arrives with opentelemetry-proto."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.grpc_collector import GrpcCollector, serving


class HttpCollector(ThreadingHTTPServer):
    """An OTLP/HTTP collector; `answer` is the partial success that it gives."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer = ExportTraceServiceResponse()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_port}"

    def decoded(self) -> list[ExportTraceServiceRequest]:
        """The requests, read by opentelemetry-proto. JSON has its ids in hexadecimal, which protobuf's own has not."""
        return [self._decode(headers["content-type"], body) for _, headers, body in self.requests]

    @staticmethod
    def _decode(kind: str, body: bytes) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        if kind == "application/x-protobuf":
            request.ParseFromString(body)
            return request
        json_format.Parse(body, request)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    for holder in (span, *span.links):
                        holder.trace_id, holder.span_id = from_base64(holder.trace_id), from_base64(holder.span_id)
                    span.parent_span_id = from_base64(span.parent_span_id)
        return request


def from_base64(value: bytes) -> bytes:
    """The id whose hexadecimal digits protobuf's JSON took for base64."""
    import base64

    return bytes.fromhex(base64.b64encode(value).decode())


class _Handler(BaseHTTPRequestHandler):
    server: HttpCollector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.append((self.path, headers, body))
        kind = headers["content-type"]
        answer = self.server.answer
        payload = answer.SerializeToString() if "protobuf" in kind else json_format.MessageToJson(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[HttpCollector]:
    """A running OTLP/HTTP collector."""
    with HttpCollector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def grpc_collector() -> Iterator[GrpcCollector]:
    """A running OTLP/gRPC collector."""
    with serving() as collector:
        yield collector
