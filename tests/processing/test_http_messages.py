"""What is said of a request that failed and of an answer that refused, by real servers of all kinds."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from google.rpc.status_pb2 import Status

from kai_tracing_core.processing.http import HttpOptions, HttpSender
from kai_tracing_core.processing.processor import Rejected, Retryable
from tests.support.server import Answer, FaultServer

PATH = "/api/v2/spans"


def message(options: HttpOptions) -> str:
    """What is said when a request to there fails."""
    sender = HttpSender(options)
    try:
        with pytest.raises((Rejected, Retryable)) as failure:
            sender.post(b"[]", "application/json", 10)
    finally:
        sender.close()
    return str(failure.value)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine that nothing listens on, and nobody else gets meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_nothing_listens(closed_port: int) -> None:
    """The address and the reason, without the classes that it came through."""
    url = f"http://127.0.0.1:{closed_port}/api/v2/spans"
    assert message(HttpOptions(url)) == f"{url}: connection refused: nothing listens there"


def test_the_proxy_does_not_listen(closed_port: int) -> None:
    """It is the proxy's fault, and the message says so."""
    said = message(HttpOptions("http://collector.invalid/", proxy=f"http://127.0.0.1:{closed_port}"))
    assert said == "http://collector.invalid/: the proxy: connection refused: nothing listens there"


def test_a_name_that_nobody_knows() -> None:
    """`.invalid` never resolves (RFC 6761, section 6.4)."""
    said = message(HttpOptions("http://collector.invalid/"))
    assert said.startswith("http://collector.invalid/: the host's name is not known (")


def test_no_answer_in_time() -> None:
    """A server that takes the request and says nothing."""
    with FaultServer(then=Answer(action="hang")) as server:
        assert message(HttpOptions(server.url + PATH, timeout=0.3)).endswith(": no answer in time")


@contextmanager
def meeting(greet: Callable[[socket.socket], object]) -> Iterator[int]:
    """The port of a listener that does this with the first who connects."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            greet(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()


def test_the_connection_is_closed() -> None:
    """A server that hangs up without a word, as one for TLS does that is spoken to in plain text."""
    with meeting(lambda connection: connection.recv(65536)) as port:
        said = message(HttpOptions(f"http://127.0.0.1:{port}/"))
    assert said.endswith("the connection was closed without an answer; does the server want https://?")


def test_no_http() -> None:
    """Bytes that are no HTTP, as a port of gRPC sends them, are not shown."""
    with FaultServer(then=Answer(action="rubbish")) as server:
        assert message(HttpOptions(server.url + PATH)).endswith("does not speak HTTP; is it a port of gRPC?")


def test_tls_to_a_plain_server() -> None:
    """`https://` where `http://` is right."""
    with FaultServer() as server:
        said = message(HttpOptions(server.url.replace("http://", "https://")))
    assert said.endswith("the server does not speak TLS; is it http:// instead of https://?")


def test_a_certificate_of_an_unknown_authority() -> None:
    """What the library says of the certificate, without its line numbers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with meeting(lambda connection: context.wrap_socket(connection, server_side=True)) as port:
        said = message(HttpOptions(f"https://127.0.0.1:{port}/"))
    assert ": the server's certificate is not trusted: " in said
    assert "_ssl.c" not in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is an error at the start, not at each request."""
    with pytest.raises(FileNotFoundError, match=r"authority\.pem"):
        HttpSender(HttpOptions("https://collector.invalid/", ca_file=str(tmp_path / "authority.pem")))


PROTOBUF, JSON, HTML, PLAIN = "application/x-protobuf", "application/json; charset=utf-8", "text/html", "text/plain"


@pytest.mark.parametrize(
    ("status", "content_type", "body", "said"),
    [
        (401, PROTOBUF, Status(code=16, message="no token").SerializeToString(), "401 no token"),
        (401, PROTOBUF, Status(code=16).SerializeToString(), "401 Unauthorized"),
        (400, PROTOBUF, b"\xff\xfe\xfd rubbish", "400 Bad Request"),
        (400, PROTOBUF, b"\x12\x7fcut off", "400 cut off"),
        (400, PROTOBUF, b"\x12\x02\xff\xff", "400 Bad Request"),
        (400, PROTOBUF, b"\x0d1234", "400 Bad Request"),
        (400, PROTOBUF, b"\x1a\x03abc\x12\x02ok", "400 ok"),
        (403, JSON, json.dumps({"code": 7, "message": "another scope"}).encode(), "403 another scope"),
        (405, JSON, b'{"error":"Method Not Allowed"}', "405 Method Not Allowed"),
        (400, JSON, b'{"error":{"message":"no such field"}}', "400 no such field"),
        (400, JSON, b'["why"]', '400 ["why"]'),
        (400, JSON, b"{cut", "400 {cut"),
        (404, PLAIN, b"404 Not Found", "404 Not Found"),
        (404, PLAIN, b"404: Not Found", "404 Not Found"),
        (404, PLAIN, b"", "404 Not Found"),
        (404, PLAIN, b"  no\n\tsuch page ", "404 no such page"),
        (400, PLAIN, b"\x00\x01\x02", "400 Bad Request"),
        (404, HTML, b"<html><head><title>404 Not Found</title></head><body>x</body></html>", "404 Not Found"),
        (499, PLAIN, b"", "499"),
        (400, PLAIN, b"x" * 1000, "400 " + "x" * 200),
    ],
)
def test_an_answer(status: int, content_type: str, body: bytes, said: str) -> None:
    """One short line: the server's own message where it has one, the status's name where not, and never bytes."""
    with FaultServer([Answer(status, {"Content-Type": content_type}, body)]) as server:
        assert message(HttpOptions(server.url + PATH)) == f"{server.url}{PATH} answered {said}"
