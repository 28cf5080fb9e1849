"""The HTTP requests that carry batches, beyond what `tests/faults` has of them."""

from __future__ import annotations

import pytest

from kai_tracing_core.processing.http import HttpOptions, HttpSender
from kai_tracing_core.processing.processor import Rejected
from tests.support.server import FaultServer


def test_through_a_proxy() -> None:
    """A proxy is asked for the whole URL (RFC 9112, section 3.2.2), over one connection for all requests."""
    with FaultServer() as proxy:
        sender = HttpSender(HttpOptions("http://collector.invalid/api/v2/spans?q=1", proxy=proxy.url))
        for _ in range(2):
            sender.post(b"[]", "application/json", 10)
        sender.close()
    assert [request.path for request in proxy.requests] == ["http://collector.invalid/api/v2/spans?q=1"] * 2
    assert len({request.connection for request in proxy.requests}) == 1


def test_the_whole_target_is_asked_for() -> None:
    """A query in the configured URL is sent; a fragment is not."""
    with FaultServer() as server:
        sender = HttpSender(HttpOptions(server.url + "/api/v2/spans?tenant=a%20b#part"))
        sender.post(b"[]", "application/json", 10)
        sender.close()
    assert [request.path for request in server.requests] == ["/api/v2/spans?tenant=a%20b"]


@pytest.mark.parametrize(
    ("headers", "sent"),
    [({}, "Basic YW5ueTpwQHNz"), ({"AUTHORIZATION": "Bearer token"}, "Bearer token")],
)
def test_user_and_password_of_the_url(headers: dict[str, str], sent: str) -> None:
    """They are sent as Basic authentication (RFC 7617) unless there is a header for it, and are in no message."""
    with FaultServer(then=401) as server:
        url = server.url.replace("http://", "http://anny:p%40ss@") + "/api/v2/spans"
        sender = HttpSender(HttpOptions(url, headers=headers))
        with pytest.raises(Rejected) as failure:
            sender.post(b"[]", "application/json", 10)
        sender.close()
    assert [request.headers["authorization"] for request in server.requests] == [sent]
    assert "ss@" not in str(failure.value)
