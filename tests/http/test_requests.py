"""The adapter for requests, against a real server."""

from __future__ import annotations

import pytest
import requests
from urllib3.util import Retry

from kai_tracing_core import SpanKind, SpanStatusCode
from kai_tracing_core.http import ClientTracer, TracingAdapter
from tests.http.conftest import Recorded
from tests.http.site import Site


@pytest.fixture
def session(recorded: Recorded) -> requests.Session:
    """A session that is traced."""
    made = requests.Session()
    made.mount("http://", TracingAdapter(tracer=ClientTracer(recorded.service)))
    return made


def test_span_of_a_request(session: requests.Session, recorded: Recorded, site: Site) -> None:
    """The same span as httpx has, with its identity in the request's headers."""
    response = session.post(f"{site.url}/cart?colour=red", data=b"seven")
    span = recorded.one()
    assert response.text == "ok"
    assert (span.name, span.kind, span.status) == ("POST", SpanKind.CLIENT, SpanStatusCode.UNSET)
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": site.port,
        "url.full": f"{site.url}/cart?colour=red",
        "http.request.body.size": 5,
        "http.response.status_code": 200,
        "http.response.body.size": 2,
        "network.protocol.version": "1.1",
    }
    assert site.requests[0].headers["traceparent"] == f"00-{span.trace_id}-{span.span_id}-03"


def test_redirects(session: requests.Session, recorded: Recorded, site: Site) -> None:
    """Each redirect is a span with its ordinal; the next call counts anew."""
    session.get(f"{site.url}/redirect")
    assert [span.attributes.get("http.request.resend_count") for span in recorded.wait(2)] == [None, 1]
    recorded.clear()
    session.get(site.url)
    assert "http.request.resend_count" not in recorded.one().attributes


def test_stream(session: requests.Session, recorded: Recorded, site: Site) -> None:
    """The span of a streamed response runs until the last part was read."""
    with session.get(f"{site.url}/stream", stream=True) as response:
        parts = response.iter_content(None)
        assert next(parts) == b"first"
        recorded.wait(0)
        site.gate.set()
        assert b"".join(parts) == b"last"
        assert recorded.one().status is SpanStatusCode.UNSET


def test_stream_given_up(session: requests.Session, recorded: Recorded, site: Site) -> None:
    """A streamed response that is closed early ends its span, without an error."""
    with session.get(f"{site.url}/stream", stream=True) as response:
        parts = response.iter_content(None)
        assert next(parts) == b"first"
        recorded.wait(0)
    assert recorded.one().status is SpanStatusCode.UNSET
    site.gate.set()


def test_read_from_below(session: requests.Session, recorded: Recorded, site: Site) -> None:
    """Reading urllib3's response directly ends the span as well."""
    response = session.get(f"{site.url}/big", stream=True)
    assert len(response.raw.read()) == 2**20
    recorded.one()


def test_body_that_breaks_off(session: requests.Session, recorded: Recorded, site: Site) -> None:
    """An error in the middle of the body is one of the span."""
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(f"{site.url}/cut")
    span = recorded.one()
    assert span.status is SpanStatusCode.ERROR
    assert span.attributes["error.type"].endswith(("IncompleteRead", "ProtocolError"))


def test_no_connection(session: requests.Session, recorded: Recorded) -> None:
    """Without a connection the span has the exception, and the caller gets it."""
    with pytest.raises(requests.ConnectionError):
        session.get("http://127.0.0.1:1/")
    span = recorded.one()
    assert span.status is SpanStatusCode.ERROR
    assert span.attributes["error.type"] == "requests.exceptions.ConnectionError"


def test_retries_of_urllib3(recorded: Recorded, site: Site) -> None:
    """What urllib3 repeats by itself is one span with an event for each."""
    site.script.append(503)
    retry = Retry(total=2, status_forcelist=[503], backoff_factor=0)
    with requests.Session() as session:
        session.mount("http://", TracingAdapter(tracer=ClientTracer(recorded.service), max_retries=retry))
        session.get(site.url)
    span = recorded.one()
    assert [(event.name, event.attributes["retry.reason"]) for event in span.events] == [("retry", "503")]
    assert span.attributes["http.response.status_code"] == 200


def test_head(session: requests.Session, recorded: Recorded, site: Site) -> None:
    """A response without a body ends the span at once."""
    session.head(site.url)
    recorded.one()
