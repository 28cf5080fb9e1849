"""What sends requests to the service and reads what it sent on."""

from __future__ import annotations

import http.client
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.w3c.service import Application, serving

Headers = Sequence[tuple[str, str]]
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True)
class Sent:
    """What one outgoing request of the service carried: a valid `traceparent`, taken apart, and `tracestate`."""

    trace_id: str
    parent_id: str
    flags: int
    state: str

    @property
    def members(self) -> dict[str, str]:
        """The members of `tracestate` in their order; a second one with the same key fails the test."""
        pairs = [member.partition("=")[::2] for member in self.state.split(",") if member]
        assert len(dict(pairs)) == len(pairs), f"a repeated key in {self.state!r}"
        return dict(pairs)


class Harness:
    """Sends requests, headers exactly as given, and reads what the service sent on because of them."""

    def __init__(self, application: Application, port: int) -> None:
        self._application = application
        self._port = port
        self._numbers = itertools.count()

    def send(self, *headers: tuple[str, str], calls: int = 1) -> list[Sent]:
        """Have the service make that many calls, and give what each of them carried."""
        paths = [f"/callback/{next(self._numbers)}" for _ in range(calls)]
        body = json.dumps([{"url": f"http://127.0.0.1:{self._port}{path}"} for path in paths]).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.putrequest("POST", "/test")
            for name, value in (*headers, ("Content-Length", str(len(body)))):
                connection.putheader(name, value)
            connection.endheaders(body)
            assert connection.getresponse().status == 204
        finally:
            connection.close()
        return [_read(self._application.callbacks.pop(path)) for path in paths]

    def trace_id(self, traceparent: str) -> str:
        """The trace that a request with this one header belongs to."""
        return self.send(("traceparent", traceparent))[0].trace_id

    def members(self, *tracestates: str) -> dict[str, str]:
        """What the service makes of these `tracestate` headers, beside a valid `traceparent` that must be kept."""
        parent = ("traceparent", "00-12345678901234567890123456789012-1234567890123456-00")
        sent = self.send(parent, *(("tracestate", state) for state in tracestates))[0]
        assert sent.trace_id == "12345678901234567890123456789012"
        return sent.members


def _read(headers: Headers) -> Sent:
    parents = [value for name, value in headers if name == "traceparent"]
    assert len(parents) == 1, f"exactly one traceparent was expected: {parents}"
    match = _TRACEPARENT.fullmatch(parents[0])
    assert match is not None, parents[0]
    version, trace_id, parent_id, flags = match.groups()
    assert version == "00"
    assert int(trace_id, 16)
    assert int(parent_id, 16)
    states = [value for name, value in headers if name == "tracestate"]
    assert len(states) <= 1
    return Sent(trace_id, parent_id, int(flags, 16), "".join(states))


@pytest.fixture(scope="package")
def harness() -> Iterator[Harness]:
    """The service on a free port of this machine, and the sender of requests to it."""
    with serving() as (application, port):
        yield Harness(application, port)
