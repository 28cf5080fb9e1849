"""A real OTLP/gRPC collector that fails as it is told to."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

__all__ = ["GrpcCollector", "serving"]


class GrpcCollector(TraceServiceServicer):
    """An OTLP/gRPC collector; `failures` are given one a request, before it takes any; `hanging`, it answers none.

    A failure has the seconds of a RetryInfo, or the bytes that stand in its place, or None.
    """

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self.failures: list[tuple[grpc.StatusCode, float | bytes | None]] = []
        self.answer = ExportTraceServiceResponse()
        self.hanging = False
        self.port = 0
        self._over = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def names(self) -> Counter[str]:
        """How many spans of each name it took."""
        return Counter(span.name for span in self._spans())

    def ids(self) -> Counter[str]:
        """How often it took each span."""
        return Counter(span.span_id.hex() for span in self._spans())

    def _spans(self) -> Iterator[Any]:
        for request in self.requests:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    yield from scope.spans

    def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:  # noqa: N802 - the service's name for it
        """Take a request, or fail it."""
        self.metadata.append(dict(context.invocation_metadata()))
        if self.hanging:
            self._over.wait(60)
        if self.failures:
            code, delay = self.failures.pop(0)
            if isinstance(delay, bytes):
                context.set_trailing_metadata((("grpc-status-details-bin", delay),))
            elif delay is not None:
                info = RetryInfo(retry_delay=Duration(nanos=int(delay * 1e9)))
                packed = AnyMessage()
                packed.Pack(info)
                status = Status(code=code.value[0], details=[packed])
                context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(code, "as told")
        self.requests.append(request)
        return self.answer

    def stop_hanging(self) -> None:
        """Let go of the requests that wait."""
        self._over.set()


@contextmanager
def serving(port: int = 0) -> Iterator[GrpcCollector]:
    """A running collector, on a free port unless one is given."""
    service = GrpcCollector()
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=[("grpc.max_receive_message_length", 64 * 1024)])
        add_TraceServiceServicer_to_server(service, server)
        service.port = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        try:
            yield service
        finally:
            service.stop_hanging()
            server.stop(0).wait()
