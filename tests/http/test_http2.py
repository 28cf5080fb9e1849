"""HTTP/2, which the client speaks when it is told to."""

from __future__ import annotations

import socket
import threading

import h2.config
import h2.connection
import h2.events

from kai_tracing_core.http import create_api_client
from tests.http.conftest import Recorded


def _answer(listener: socket.socket, received: list[dict[bytes, bytes]]) -> None:
    """One connection, each of whose requests gets 200."""
    connection, _ = listener.accept()
    with connection:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.initiate_connection()
        connection.sendall(http.data_to_send())
        while data := connection.recv(65536):
            for event in http.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    received.append(dict(event.headers))
                    http.send_headers(event.stream_id, [(":status", "200")])
                    http.send_data(event.stream_id, b"ok", end_stream=True)
            connection.sendall(http.data_to_send())


def test_http2(recorded: Recorded) -> None:
    """The span says which version was spoken, and the context travels in HTTP/2's headers."""
    received: list[dict[bytes, bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, received))
        thread.start()
        with create_api_client(service=recorded.service, http1=False, http2=True) as client:
            response = client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()
    span = recorded.one()
    assert (response.text, response.http_version) == ("ok", "HTTP/2")
    assert span.attributes["network.protocol.version"] == "2"
    assert received[0][b"traceparent"].decode().split("-")[2] == span.span_id
