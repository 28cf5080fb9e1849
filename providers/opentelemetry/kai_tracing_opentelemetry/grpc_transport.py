"""OTLP over gRPC: one unary call on raw bytes, its failures told apart into later, smaller and never."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # has no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # has no stubs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from kai_tracing_core.processing.otlp import read_refusal
from kai_tracing_core.processing.otlp_encoding import encode_request
from kai_tracing_core.processing.processor import PayloadExporter, Rejected, Retryable, TooLarge
from kai_tracing_core.span import Span
from kai_tracing_opentelemetry.settings import Compression, OpenTelemetrySettings

__all__ = ["OtlpGrpcExporter"]

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_RETRYABLE = frozenset(("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"))


def _grpc() -> Any:
    try:
        import grpc
    except ImportError as error:
        raise ImportError(
            'OTLP over gRPC needs grpcio: pip install "kai-tracing-opentelemetry[grpc]", '
            "or choose TRACING_OPENTELEMETRY__PROTOCOL=http/protobuf"
        ) from error
    return grpc


class OtlpGrpcExporter(PayloadExporter):
    """Sends OTLP requests over gRPC (opentelemetry-proto, docs/specification.md, "OTLP/gRPC").

    User and password in the URL are sent as Basic authentication, as over HTTP.

    Raises:
        ImportError: grpcio is not installed; the message says what to install.
        OSError: a certificate file cannot be read.
    """

    format = "protobuf"

    def __init__(self, settings: OpenTelemetrySettings) -> None:
        self._grpc = _grpc()
        url = urlsplit(settings.url if "://" in settings.url else f"//{settings.url}")
        auth, _, self._target = url.netloc.rpartition("@")
        self._secure = url.scheme == "https" or (not url.scheme and not settings.insecure)
        self._files = [
            Path(name).read_bytes() if name else None
            for name in (settings.certificate, settings.client_key, settings.client_certificate)
        ]
        self._timeout = settings.timeout
        self._metadata = _metadata(settings.headers, auth)
        gzip = settings.compression is Compression.GZIP
        self._compression = self._grpc.Compression.Gzip if gzip else self._grpc.Compression.NoCompression
        self._channel: Any = None
        self._export: Any = None

    def _connect(self) -> None:
        # At the first export, so that no thread of gRPC's runs when a server forks its workers.
        grpc = self._grpc
        if self._secure:
            self._channel = grpc.secure_channel(self._target, grpc.ssl_channel_credentials(*self._files))
        else:
            self._channel = grpc.insecure_channel(self._target)
        self._export = self._channel.unary_unary(_METHOD, response_deserializer=ExportTraceServiceResponse.FromString)

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as a request."""
        return encode_request(spans)

    def send(self, payload: bytes, timeout: float) -> int:
        """Send the request; returns how many spans the collector refused."""
        if self._channel is None:
            self._connect()
        try:
            answer = self._export(
                payload, timeout=min(timeout, self._timeout), metadata=self._metadata, compression=self._compression
            )
        except self._grpc.RpcError as error:
            raise _failure(self._target, error) from error
        return read_refusal(answer)

    def after_fork(self) -> None:
        """Use a channel of our own, leaving the parent's alone."""
        self._channel = self._export = None

    def shutdown(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()


def _metadata(headers: Mapping[str, str], auth: str) -> tuple[tuple[str, str], ...]:
    """The metadata of every request, with what stands for the URL's user and password."""
    found = {name.lower(): value for name, value in headers.items()}
    if auth:
        found.setdefault("authorization", f"Basic {base64.b64encode(unquote(auth).encode()).decode()}")
    return tuple(found.items())


def _failure(target: str, error: Any) -> Exception:
    """What an RPC's failure means for the batch ("OTLP/gRPC Response", "Failures")."""
    code = error.code().name
    details = error.details() or ""
    said = f"{target}: {code} {_shortened(details)}".rstrip()
    retry_after = _retry_delay(error)
    if code in _RETRYABLE:
        return Retryable(said, retry_after=retry_after)
    if code == "RESOURCE_EXHAUSTED":
        if retry_after is not None:
            return Retryable(said, retry_after=retry_after)
        if "larger than max" in details:  # what gRPC's servers say of a message beyond their limit
            return TooLarge(said)
    return Rejected(said, reason=f"grpc_{code.lower()}")


def _shortened(details: str) -> str:
    """The last of the attempts that gRPC reports, without what its TLS library says to itself."""
    if "WRONG_VERSION_NUMBER" in details:
        return "the server does not speak TLS; is it http:// instead of https://?"
    return details.rpartition("last error: ")[2]


def _retry_delay(error: Any) -> float | None:
    """The seconds that the server's RetryInfo asks to wait; None where it sent none."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            try:
                for detail in Status.FromString(value).details:
                    info = RetryInfo()
                    if detail.Unpack(info):
                        return float(max(0.0, info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
            except Exception:  # rubbish in the metadata is no information
                return None
    return None
