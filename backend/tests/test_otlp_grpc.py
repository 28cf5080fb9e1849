"""OTLP over gRPC: a real channel to a real port."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from kai_tracing_backend.access.tokens import Scope, TokenFile
from kai_tracing_backend.app import Backend
from kai_tracing_backend.storage.contract import StoreError, StoreFullError
from kai_tracing_backend.storage.queue import QueueFullError
from kai_tracing_backend.testing.store_contract import EVER
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.support.backend import running, scraped
from tests.support.otlp import changed, message

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
UNLIMITED = [("grpc.max_send_message_length", -1)]


@pytest.fixture
def channel(backend: Backend) -> Iterator[grpc.Channel]:
    """A connection to the backend."""
    with grpc.insecure_channel(f"127.0.0.1:{backend.settings.otlp_grpc_port}", options=UNLIMITED) as channel:
        yield channel


def export(channel: grpc.Channel, body: bytes, **options: Any) -> ExportTraceServiceResponse:
    """One request."""
    return ExportTraceServiceResponse.FromString(channel.unary_unary(EXPORT)(body, timeout=60, **options))


def test_what_is_answered_is_stored_once(backend: Backend, channel: grpc.Channel) -> None:
    """Plain and gzip, delivered twice: an empty answer, every span once."""
    body = message(count=3).SerializeToString()
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        assert export(channel, body, compression=compression) == ExportTraceServiceResponse()
    assert sum(rate.spans for rate in backend.tenants.get().store.rates(*EVER)) == 3


def test_a_partial_success_says_what_was_rejected(backend: Backend, channel: grpc.Channel) -> None:
    """How many and why; the good spans of the request are there."""
    request = message(changed(trace_id=b"1"), lambda span: None)
    partial = export(channel, request.SerializeToString()).partial_success
    assert (partial.rejected_spans, partial.error_message) == (1, "trace_id must have 16 bytes, not 1")
    assert [found.name for found in backend.tenants.get().store.trace("2")] == ["op"]


@pytest.mark.parametrize(
    ("body", "compression", "code", "said"),
    [
        (b"\xff\xff", None, grpc.StatusCode.INVALID_ARGUMENT, "protobuf"),
        (bytes(65 << 20), None, grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
        (bytes(65 << 20), grpc.Compression.Gzip, grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
    ],
    ids=["garbage", "large", "bomb"],
)
def test_a_request_that_cannot_be_read_is_refused(
    channel: grpc.Channel, body: bytes, compression: Any, code: grpc.StatusCode, said: str
) -> None:
    """With a status that says why and no leave to come again; the next request is served."""
    with pytest.raises(grpc.RpcError) as caught:
        export(channel, body, compression=compression)
    assert caught.value.code() == code
    assert said in caught.value.details()
    assert "grpc-status-details-bin" not in dict(caught.value.trailing_metadata()) or retry_info(caught.value) is None
    export(channel, message(count=1).SerializeToString())


def retry_info(error: Any) -> RetryInfo | None:
    """What the error's details say about coming again."""
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    found = RetryInfo()
    return found if any(detail.Unpack(found) for detail in status.details) else None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (StoreFullError("x"), grpc.StatusCode.UNAVAILABLE),
        (StoreError("x"), grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_a_sender_is_told_to_come_again(
    backend: Backend,
    channel: grpc.Channel,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None,
    code: grpc.StatusCode,
) -> None:
    """Queue full, disk full, store broken: RetryInfo says when, and afterwards it is taken."""
    body = message(count=1).SerializeToString()

    def fail(given: Any) -> Any:
        raise error or QueueFullError("full")

    tenant = backend.tenants.get()
    with monkeypatch.context() as patch:
        patch.setattr(*((tenant.queue, "submit") if error is None else (tenant.store, "write")), fail)
        with pytest.raises(grpc.RpcError) as caught:
            export(channel, body)
    assert caught.value.code() == code
    retry = retry_info(caught.value)
    assert retry is not None
    assert retry.retry_delay.seconds > 0
    assert export(channel, body) == ExportTraceServiceResponse()


def test_calls_are_counted_by_their_status(backend: Backend, channel: grpc.Channel) -> None:
    """As requests over HTTP are: good ones, refused ones with their bytes, and calls without a request."""
    body = message(count=1).SerializeToString()
    export(channel, body)
    for wrong in (b"\xff\xff", bytes(65 << 20)):
        with pytest.raises(grpc.RpcError):
            export(channel, wrong)
    with pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(EXPORT)(iter(()), timeout=60)
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "the call has no request",
    )
    # gRPC itself answers the one that is too large, perhaps before it is counted, and ends its call before or after it
    # says that there is no request.
    counted = [{"OK": 1, "INVALID_ARGUMENT": 2, "CANCELLED": 1}, {"OK": 1, "INVALID_ARGUMENT": 3}]
    deadline = time.monotonic() + 60
    while (found := of_grpc(backend, "requests_total")) not in counted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert of_grpc(backend, "request_bytes_total") == {None: len(body) + 2}


def of_grpc(backend: Backend, metric: str) -> dict[str | None, float]:
    """A metric of the receiver, by status."""
    return {
        dict(labels).get("status"): value
        for (name, labels), value in scraped(backend.settings.api_port).items()
        if name == metric and ("receiver", "otlp_grpc") in labels
    }


def test_calls_are_traced_by_option(tmp_path: Path) -> None:
    """A span for each, a child of the sender's; a refusal for the server's fault is an error, another is none."""
    with running(tmp_path, self_tracing=True) as backend:
        assert backend.tracing is not None
        with grpc.insecure_channel(f"127.0.0.1:{backend.settings.otlp_grpc_port}") as channel:
            export(
                channel, message(count=1).SerializeToString(), metadata=[("traceparent", f"00-{9:032x}-{7:016x}-01")]
            )
            with pytest.raises(grpc.RpcError):
                export(channel, b"\xff", metadata=[("traceparent", f"00-{8:032x}-{7:016x}-01")])
        assert backend.tracing.flush(60)
        store = backend.tenants.get().store
        for trace, code in ((9, 0), (8, 3)):
            (found,) = store.trace(f"{trace:x}")
            assert (found.name, found.kind, found.status) == (EXPORT[1:], 2, 0)
            assert found.parent_id == f"{7:016x}"
            assert found.attributes["rpc.grpc.status_code"] == code


def test_nobody_without_a_token_makes_it_receive(tmp_path: Path) -> None:
    """The refusal comes while the sender still has its request, of which nothing was sent."""
    TokenFile(tmp_path / "data" / "tokens.json").create("shop", [Scope.INGEST])
    with running(tmp_path) as backend, grpc.insecure_channel(f"127.0.0.1:{backend.settings.otlp_grpc_port}") as channel:
        waiting = threading.Event()

        def requests() -> Iterator[bytes]:
            waiting.wait(60)
            yield b""

        call = channel.stream_unary(EXPORT).future(requests(), timeout=60)
        assert call.code() is grpc.StatusCode.UNAUTHENTICATED
        waiting.set()


def test_a_stop_finishes_what_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose spans are being written when the backend is told to stop is answered; the port is free then."""
    began, go_on = threading.Event(), threading.Event()
    with running(tmp_path) as backend:
        store = backend.tenants.get().store
        write = store.write

        def slow(given: Any) -> int:
            began.set()
            assert go_on.wait(60)
            return write(given)

        monkeypatch.setattr(store, "write", slow)
        address = f"127.0.0.1:{backend.settings.otlp_grpc_port}"
        channel = grpc.insecure_channel(address)
        waiting = channel.unary_unary(EXPORT).future(message(count=1).SerializeToString(), timeout=60)
        assert began.wait(60)
        threading.Timer(0.2, go_on.set).start()
    assert waiting.result() == b""
    channel.close()
    with running(tmp_path, otlp_grpc_port=backend.settings.otlp_grpc_port) as again:
        assert len(again.tenants.get().store.trace("1")) == 1


def test_calls_without_a_request_do_not_keep_others_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More idle calls than there are workers are ended after a while, and a good request is answered."""
    monkeypatch.setattr("kai_tracing_backend.collector.otlp_grpc._ARRIVAL", 1.0)
    hold = threading.Event()

    def nothing() -> Iterator[bytes]:
        hold.wait(60)
        yield from ()

    with running(tmp_path) as made:
        target = f"127.0.0.1:{made.settings.otlp_grpc_port}"
        with grpc.insecure_channel(target) as idle, grpc.insecure_channel(target) as busy:
            calls = [idle.stream_unary(EXPORT).future(nothing()) for _ in range(20)]
            try:
                export(busy, message(count=1).SerializeToString())
                assert {call.code() for call in calls} == {grpc.StatusCode.CANCELLED}
            finally:
                hold.set()
