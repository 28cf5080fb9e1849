"""Spans travel encrypted, to a collector whose certificate is checked and which asks for the client's."""

from __future__ import annotations

import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from kai_tracing_opentelemetry import OpenTelemetryProvider, OpenTelemetrySettings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import add_TraceServiceServicer_to_server

from kai_tracing_core import TracingService
from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.retry import RetryPolicy
from providers.opentelemetry.tests.conftest import GrpcCollector, HttpCollector

BRIEF = PipelineConfig(batch=BatchOptions(delay=0.01, retry=RetryPolicy(initial=0.01, maximum=0.01, max_elapsed=0.5)))


@pytest.fixture
def authority() -> trustme.CA:
    """Who signs the certificates of both sides."""
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """The settings that name the authority's certificate, the client's, and its key."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client = authority.issue_cert("shop@example.org")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    names = {"certificate": "ca.pem", "client_key": "key.pem", "client_certificate": "client.pem"}
    return {setting: str(tmp_path / name) for setting, name in names.items()}


def send(endpoint: str, protocol: str, files: dict[str, str]) -> Any:
    """Send one span; the stats afterwards."""
    settings = OpenTelemetrySettings(**{"endpoint": endpoint, "protocol": protocol, **files})
    tracing = TracingService(OpenTelemetryProvider(settings, config=BRIEF, set_global=False))
    with tracing.span("work"):
        pass
    assert tracing.flush(20)
    stats = tracing.stats()
    tracing.shutdown()
    return stats


def test_http(authority: trustme.CA, files: dict[str, str]) -> None:
    """OTLP/HTTP over mutual TLS; without the authority's certificate, or the client's, nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with HttpCollector() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = server.url.replace("http:", "https:")
        assert send(url, "http/protobuf", files).exported == 1
        assert dict(send(url, "http/protobuf", {}).dropped) == {"unreachable": 1}
        assert dict(send(url, "http/protobuf", {"certificate": files["certificate"]}).dropped) == {"unreachable": 1}
        server.shutdown()
        thread.join()
    assert len(server.requests) == 1


def test_grpc(authority: trustme.CA, files: dict[str, str]) -> None:
    """OTLP/gRPC over mutual TLS; without the authority's certificate nothing is sent."""
    service = GrpcCollector()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    credentials = grpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), b"".join(pem.bytes() for pem in certificate.cert_chain_pems))],
        root_certificates=authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        add_TraceServiceServicer_to_server(service, server)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        assert send(f"https://localhost:{port}", "grpc", files).exported == 1
        assert send(f"localhost:{port}", "grpc", files).exported == 1
        assert dict(send(f"https://localhost:{port}", "grpc", {}).dropped) == {"unreachable": 1}
        server.stop(0).wait()
    assert len(service.requests) == 2


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_server_without_tls(protocol: str) -> None:
    """`https://` where `http://` is right: both transports say so instead of their library's words."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        said = send(f"https://127.0.0.1:{port}", protocol, {}).last_error
        server.stop(0).wait()
    assert said is not None
    assert said.endswith("the server does not speak TLS; is it http:// instead of https://?")
