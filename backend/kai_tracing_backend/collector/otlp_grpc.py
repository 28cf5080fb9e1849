"""The receiver of OTLP over gRPC (port 4317): opentelemetry-proto, docs/specification.md, "OTLP/gRPC"."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from time import monotonic

import grpc
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # has no types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from kai_tracing_backend.access.gate import Gate
from kai_tracing_backend.access.guard import DeniedError
from kai_tracing_backend.access.tls import Tls
from kai_tracing_backend.access.tokens import Scope
from kai_tracing_backend.collector.intake import MAX_BODY, Intake
from kai_tracing_backend.collector.otlp import decode_protobuf
from kai_tracing_backend.collector.refusals import RefusedError, rpc_status
from kai_tracing_backend.collector.rpc import Call, Calls
from kai_tracing_backend.collector.validation import Accepted
from kai_tracing_backend.listeners import GRACE, Listener, Port
from kai_tracing_backend.storage.contract import StoreError
from kai_tracing_core.service import TracingService

__all__ = ["OtlpGrpcListener"]

_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_WORKERS = 16  # requests that are read and stored at once; others wait on their connections
_MAX_WAITING = 10_000
_ARRIVAL = 30.0  # seconds that a request may take to arrive once a worker waits for it
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_BODY),  # after decompression, too
    ("grpc.max_concurrent_streams", 100),
    ("grpc.so_reuseport", 0),  # or two processes could share the port
)
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class OtlpGrpcListener(Listener):
    """`TraceService.Export`: answers when the spans are durable; what it refuses for now says when to come again.

    Raises:
        PortError: the port is taken.
    """

    def __init__(
        self,
        port: Port,
        intake: Intake,
        gate: Gate,
        tls: Tls | None = None,
        tracing: TracingService | None = None,
    ) -> None:
        super().__init__("http" if tls is None else "https", port)
        self._intake = intake
        self._gate = gate
        self._calls = Calls(gate.tenants.metrics, self.name, f"{_SERVICE}/Export", tracing)
        self._started = False
        self._arriving: dict[grpc.ServicerContext, float] = {}  # calls whose request is waited for, and since when
        port.bind().close()  # says better than gRPC what is wrong
        self._workers = ThreadPoolExecutor(_WORKERS, "kai-tracing-grpc")
        self._server = grpc.server(self._workers, options=_OPTIONS, maximum_concurrent_rpcs=_WORKERS + _MAX_WAITING)
        # As a stream, though it has one request: that is received when it is asked for, after the token was looked at.
        # Without a serializer it gets bytes and gives bytes.
        export: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(self._export)
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_SERVICE, {"Export": export})])
        try:
            if tls is None:
                self._server.add_insecure_port(str(port))
            else:
                self._server.add_secure_port(str(port), tls.grpc())
        except RuntimeError as error:
            self._workers.shutdown()
            raise port.error(str(error)) from error

    async def start(self) -> None:
        """Begin to serve."""
        self._loop = asyncio.get_running_loop()
        self._started = True
        self._server.start()
        self._impatience = asyncio.create_task(self._end_idle_calls())

    async def stop(self) -> None:
        """Answer the requests that run, within `GRACE`, and give the port back."""
        self._impatience.cancel()
        await asyncio.to_thread(self._server.stop(GRACE).wait)
        self._workers.shutdown(wait=False)

    def close(self) -> None:
        """Give the port back."""
        if not self._started:
            self._started = True
            self._server.start()  # one that never ran keeps its port
            self._server.stop(None).wait()
            self._workers.shutdown()

    async def _end_idle_calls(self) -> None:
        """Cancel those that began and send nothing: each keeps a worker from everybody else."""
        while True:
            await asyncio.sleep(_ARRIVAL / 10)
            latest = monotonic() - _ARRIVAL
            for context, since in list(self._arriving.items()):
                if since < latest:
                    context.cancel()

    def _export(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """One request, on a thread of gRPC's."""
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        with self._calls.begin(metadata) as call:
            answer = self._answer(call, requests, metadata, context)
        if not isinstance(answer, bytes):
            context.set_trailing_metadata((("grpc-status-details-bin", answer.SerializeToString()),))
            context.abort(call.code, answer.message)
        return answer

    def _answer(
        self, call: Call, requests: Iterator[bytes], metadata: Mapping[str, str], context: grpc.ServicerContext
    ) -> bytes | Status:
        """The answer, or the status of a refusal; the call's code is what it says."""
        try:
            accepted = self._store(call, requests, metadata, context)
        except RefusedError as error:
            status = rpc_status(error)
            call.code = _CODES[status.code]
            return status
        response = ExportTraceServiceResponse()
        if accepted.rejected:
            response.partial_success.rejected_spans = accepted.rejected
            response.partial_success.error_message = accepted.message
        return response.SerializeToString()

    def _store(
        self, call: Call, requests: Iterator[bytes], metadata: Mapping[str, str], context: grpc.ServicerContext
    ) -> Accepted:
        try:
            grant = self._gate.admit(metadata.get("authorization"), Scope.INGEST)
            call.tenant = grant.tenant
            body = self._receive(requests, context)
            call.bytes = len(body)
            self._gate.receive(grant, len(body), len(body))
            tenant = self._gate.tenants.get(grant.tenant)
        except DeniedError as error:
            raise RefusedError(error.status, error.message, error.retry_after) from error
        except StoreError as error:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), 5) from error
        storing = self._intake.take(tenant, partial(decode_protobuf, body), self.name, len(body))
        return asyncio.run_coroutine_threadsafe(storing, self._loop).result()

    def _receive(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """The request. One that is too large gRPC refuses by itself, and ends the call."""
        self._arriving[context] = monotonic()
        try:
            body = next(requests, None)
        except grpc.RpcError:
            body = b""
        finally:
            del self._arriving[context]
        if not context.is_active():  # its sender's time was over while it waited, and it will come again
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "nobody waits for the answer")
        if body is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the call has no request")
        return body
