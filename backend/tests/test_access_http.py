"""Access control at the ports of a running backend: what is let in, what is not, and how that is said."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme
from google.rpc.status_pb2 import Status
from kai_tracing_backend.access.tls import Tls
from kai_tracing_backend.access.tokens import Limits, Scope, TokenFile
from kai_tracing_backend.app import Backend
from kai_tracing_backend.cli.client import ApiClient
from kai_tracing_backend.settings import BackendSettings

from kai_tracing_core.errors import ConfigurationError
from tests.support.backend import Answer, ask, running, settings_in
from tests.support.jaeger import batch, packet_of, span
from tests.support.otlp import message

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = {"traceId": TRACE, "id": "b7ad6b7169203331", "name": "get", "timestamp": time.time_ns() // 1_000, "duration": 5}
SPANS = json.dumps([{**SPAN, "localEndpoint": {"serviceName": "shop"}}]).encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a backend with tokens."""
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def tokens(place: Path) -> dict[str, str]:
    """A token for each scope and one that is limited, by name."""
    file = TokenFile(place / "data" / "tokens.json")
    texts = {scope.value: file.create(scope.value, {scope})[1] for scope in Scope}
    texts["small"] = file.create("small", {Scope.INGEST}, limits=Limits(max_body=100))[1]
    for name in ("slow", "slower"):
        texts[name] = file.create(name, {Scope.INGEST}, limits=Limits(bytes_per_second=1))[1]
    return texts


@pytest.fixture(scope="module")
def backend(place: Path, tokens: dict[str, str]) -> Iterator[Backend]:
    """A backend that these tokens are good for."""
    with running(place) as made:
        yield made


def with_token(text: str) -> dict[str, str]:
    """The header."""
    return {"Authorization": f"Bearer {text}"}


def send(backend: Backend, body: bytes = SPANS, **headers: str) -> Answer:
    """A request to the Zipkin receiver."""
    return ask(backend.settings.zipkin_port, "/api/v2/spans", body, **headers)


def test_each_port_wants_its_scope(backend: Backend, tokens: dict[str, str]) -> None:
    """To send, to read, to read the process's numbers; health is for everybody."""
    api = backend.settings.api_port
    assert send(backend, **with_token(tokens["ingest"])).status == 202
    assert ask(api, f"/api/v1/traces/{TRACE}", **with_token(tokens["query"])).json["traceId"] == TRACE
    assert ask(api, "/metrics", **with_token(tokens["metrics"])).status == 200
    assert [ask(api, path).status for path in ("/healthz", "/readyz")] == [200, 200]
    for path, wanted in (("/api/v1/services", "query"), ("/metrics", "metrics"), ("/nowhere", "query")):
        assert ask(api, path).status == 401
        for name in {scope.value for scope in Scope} - {wanted}:
            answer = ask(api, path, **with_token(tokens[name]))
            assert answer.status == 403
            assert f"the scope {wanted}" in answer.json["error"]
    assert send(backend, **with_token(tokens["query"])).status == 403
    assert ask(api, "/api/v1/services", b"{}", **with_token(tokens["query"])).status == 403


def test_nobody_without_a_token_gets_in(backend: Backend) -> None:
    """401 with a challenge, whatever was asked for; the refusals are counted."""
    before = backend.metrics.expose().decode()
    answer = ask(backend.settings.api_port, "/api/v1/services")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="kai-tracing"'
    assert "Authorization: Bearer" in answer.json["error"]
    assert 'denied_requests_total{reason="token"}' in backend.metrics.expose().decode()
    assert backend.metrics.expose().decode() != before


def test_a_refusal_of_otlp_is_a_status(backend: Backend, tokens: dict[str, str]) -> None:
    """In the request's encoding (OTLP, "Failures"), with the code that fits."""
    port = backend.settings.otlp_http_port
    answer = ask(port, "/v1/traces", b"", "application/x-protobuf")
    assert (answer.status, Status.FromString(answer.body).code) == (401, 16)
    answer = ask(port, "/v1/traces", b"{}", **with_token(tokens["query"]))
    assert (answer.status, answer.json["code"]) == (403, 7)
    assert answer.headers["WWW-Authenticate"]


def export(channel: grpc.Channel, text: str = "", count: int = 1) -> grpc.StatusCode | None:
    """What a request over gRPC is answered with; None is fine."""
    metadata = [("authorization", f"Bearer {text}")] if text else []
    call = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
    try:
        call(message(count=count).SerializeToString(), timeout=60, metadata=metadata, wait_for_ready=True)
    except grpc.RpcError as error:
        found: grpc.StatusCode = error.code()
        return found
    return None


def test_grpc_wants_a_token_in_its_metadata(backend: Backend, tokens: dict[str, str]) -> None:
    """UNAUTHENTICATED without one, PERMISSION_DENIED with another scope, RESOURCE_EXHAUSTED past a limit."""
    with grpc.insecure_channel(f"127.0.0.1:{backend.settings.otlp_grpc_port}") as channel:
        assert export(channel) is grpc.StatusCode.UNAUTHENTICATED
        assert export(channel, "kt_01234567_no") is grpc.StatusCode.UNAUTHENTICATED
        assert export(channel, tokens["query"]) is grpc.StatusCode.PERMISSION_DENIED
        assert export(channel, tokens["ingest"]) is None
        assert export(channel, tokens["small"], count=100) is grpc.StatusCode.INVALID_ARGUMENT
        export(channel, tokens["slower"])
        assert export(channel, tokens["slower"]) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_token_has_its_limits(backend: Backend, tokens: dict[str, str]) -> None:
    """413 above its size, said in advance or in chunks; 429 with the time to wait when its bytes are used up."""
    assert send(backend, **with_token(tokens["small"])).status == 413
    port = backend.settings.zipkin_port
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v2/spans",
        iter([SPANS]),
        {"Content-Type": "application/json", **with_token(tokens["small"])},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value:
        assert caught.value.code == 413
    assert send(backend, **with_token(tokens["slow"])).status == 202
    answer = send(backend, **with_token(tokens["slow"]))
    assert answer.status == 429
    assert 0 < int(answer.headers["Retry-After"]) <= len(SPANS) + 1


def test_packets_are_not_taken_where_tokens_are_wanted(backend: Backend) -> None:
    """They have room for none: each is counted as denied, on both of the agent's ports, and nothing is stored."""
    for name, compact in (("jaeger_compact", True), ("jaeger_binary", False)):
        counted = f'udp_dropped_packets_total{{reason="denied",receiver="{name}"}} 2.0'
        deadline = time.monotonic() + 60
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            for _ in range(2):
                address = ("127.0.0.1", getattr(backend.settings, f"{name}_port"))
                sender.sendto(packet_of(batch(span(trace=77)), compact=compact), address)
        while counted not in backend.metrics.expose().decode():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert backend.tenants.get().store.trace(f"{77:032x}") == []


def test_packets_are_a_named_tenant_s_where_that_is_said(tmp_path: Path) -> None:
    """Others' tokens change nothing of it; other machines are let in so only where that is wished."""
    TokenFile(tmp_path / "data" / "tokens.json").create("x", {Scope.QUERY})
    with running(tmp_path, udp_tenant="agents") as backend:
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(
                packet_of(batch(span(trace=77)), compact=True), ("127.0.0.1", backend.settings.jaeger_compact_port)
            )
        deadline = time.monotonic() + 60
        while not backend.tenants.get("agents").store.trace(f"{77:032x}"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert backend.tenants.get().store.trace(f"{77:032x}") == []
    with pytest.raises(ConfigurationError, match="--udp-tenant"):
        asyncio.run(_make(settings_in(tmp_path, host="0.0.0.0", udp_tenant="agents")))


def test_the_start_says_that_packets_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the setting to change, for each of the agent's ports."""
    TokenFile(tmp_path / "data" / "tokens.json").create("x", {Scope.QUERY})
    with running(tmp_path):
        pass
    said = [line for line in caplog.messages if "TRACING_BACKEND_UDP_TENANT" in line]
    assert [line.partition(":")[0] for line in said] == ["Jaeger/UDP compact", "Jaeger/UDP binary"]


def test_a_token_made_meanwhile_is_known_and_a_revoked_one_refused(backend: Backend, tokens: dict[str, str]) -> None:
    """Without a restart, soon."""
    file = TokenFile(backend.settings.token_file)
    _, text = file.create("late", {Scope.QUERY})

    def wait_for(status: int) -> None:
        deadline = time.monotonic() + 30
        while ask(backend.settings.api_port, "/api/v1/services", **with_token(text)).status != status:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    wait_for(200)
    file.revoke("late")
    wait_for(401)


def test_pages_of_others_are_refused_where_nothing_is_asked_for(tmp_path: Path) -> None:
    """A name that was pointed here, and a page's form; but not where a setting allows it."""
    with running(tmp_path, allowed_hosts=("Traces.example.com",)) as backend:
        port = backend.settings.api_port
        assert ask(port, "/healthz", Host="evil.example").status == 403
        assert ask(port, "/healthz", Host="traces.example.com").status == 200
        assert send(backend, Origin="https://evil.example").status == 403
        assert send(backend, Origin="https://traces.example.com").status == 202


def test_other_machines_are_not_let_in_without_tokens(tmp_path: Path) -> None:
    """The start is refused, unless that is wished; with a token it is fine."""
    with pytest.raises(ConfigurationError, match="--insecure"):
        asyncio.run(_make(settings_in(tmp_path, host="0.0.0.0")))
    with running(tmp_path, host="0.0.0.0", insecure=True) as backend:
        assert ask(backend.settings.api_port, "/healthz", Host="anything").status == 200
    TokenFile(tmp_path / "data" / "tokens.json").create("x", {Scope.QUERY})
    with running(tmp_path, host="0.0.0.0") as backend:
        assert ask(backend.settings.api_port, "/api/v1/services", Host="anything").status == 401


async def _make(settings: BackendSettings) -> Backend:
    return Backend(settings)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the certificates."""
    return trustme.CA()


def certificate(authority: trustme.CA, folder: Path, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """Files of a certificate and its key."""
    made = authority.issue_cert(name)
    folder.mkdir(exist_ok=True)
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return cert, key


def test_everything_can_be_encrypted(tmp_path: Path, authority: trustme.CA) -> None:
    """The command line's client trusts `--ca` and nobody else; plain HTTP gets no answer."""
    cert, key = certificate(authority, tmp_path)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with running(tmp_path, tls_cert=cert, tls_key=key) as backend:
        url = f"https://127.0.0.1:{backend.settings.api_port}"
        with ApiClient(url, ca=tmp_path / "ca.pem") as client:
            assert client.get("/api/v1/services") == {"services": [], "cursor": None}
        for other in (url, url.replace("https", "http")):
            with ApiClient(other) as client, pytest.raises(Exception, match=r"cannot be trusted|does not speak"):
                client.get("/api/v1/services")
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        request = urllib.request.Request(
            f"https://127.0.0.1:{backend.settings.zipkin_port}/api/v2/spans",
            SPANS,
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            assert answer.status == 202
        credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        with grpc.secure_channel(f"127.0.0.1:{backend.settings.otlp_grpc_port}", credentials) as channel:
            assert export(channel) is None


def test_clients_can_be_asked_for_certificates(tmp_path: Path, authority: trustme.CA) -> None:
    """Only those that the authority signed get an answer."""
    cert, key = certificate(authority, tmp_path)
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    with running(tmp_path, tls_cert=cert, tls_key=key, tls_client_ca=ca) as backend:
        url = f"https://127.0.0.1:{backend.settings.api_port}/healthz"
        context = ssl.create_default_context(cafile=str(ca))
        with pytest.raises(OSError):
            urllib.request.urlopen(url, timeout=60, context=context)
        context.load_cert_chain(*certificate(authority, tmp_path / "client", "me@example.com"))
        with urllib.request.urlopen(url, timeout=60, context=context) as answer:
            assert answer.status == 200
        chain, private = ((tmp_path / "client" / name).read_bytes() for name in ("cert.pem", "key.pem"))
        credentials = grpc.ssl_channel_credentials(ca.read_bytes(), private, chain)
        with grpc.secure_channel(f"127.0.0.1:{backend.settings.otlp_grpc_port}", credentials) as channel:
            assert export(channel) is None


def test_certificates_that_cannot_be_used_name_their_setting(tmp_path: Path, authority: trustme.CA) -> None:
    """One without the other, no file, no certificate, somebody else's key, a key with a password."""
    cert, key = certificate(authority, tmp_path)
    _, other = certificate(authority, tmp_path / "other")
    none = tmp_path / "none.pem"
    for setting, files in {
        "TRACING_BACKEND_TLS_CERT": [(cert, None, None), (None, None, cert), (cert, none, None), (cert, other, None)],
        "TRACING_BACKEND_TLS_CLIENT_CA": [(cert, key, none), (cert, key, key)],
    }.items():
        for three in files:
            with pytest.raises(ConfigurationError, match=setting):
                Tls.of(*three)
    assert Tls.of(None, None, None) is None
    from cryptography.hazmat.primitives import serialization

    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigurationError, match="password"):
        Tls.of(cert, key, None)
