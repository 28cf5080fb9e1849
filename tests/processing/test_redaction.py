"""What redaction takes out of a span, what it leaves, and that it never fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.processing.redaction import REDACTED, RedactionRules, Redactor, redact_url
from kai_tracing_core.span import Span, SpanStatusCode


class _Keep(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[Span] = []

    def on_end(self, span: Span) -> None:
        self.spans.append(span)


def _ended(
    attributes: dict[str, Any],
    rules: RedactionRules | None = None,
    hook: Callable[[str, Any], Any] | None = None,
    name: str = "op",
    event: dict[str, Any] | None = None,
) -> Span:
    pipeline = SpanPipeline(PipelineConfig(processors=[Redactor(rules, hook)]), _Keep())
    with pipeline.start(name, attributes=attributes) as span:
        if event is not None:
            span.add_event("e", event)
    return span


@pytest.mark.parametrize(
    "key",
    [
        "authorization",
        "http.request.header.authorization",
        "http.request.header.Proxy-Authorization",
        "http.request.header.cookie",
        "http.response.header.set-cookie",
        "http.request.header.x-api-key",
        "apiKey",
        "userPassword",
        "db.password",
        "client_secret",
        "access_token",
        "refreshToken",
        "aws.secret-access-key",
        "connection_string",
        "http.request.header.x-csrf-token",
    ],
)
def test_keys_that_name_a_secret(key: str) -> None:
    """The value of a key that names a secret is replaced as a whole, whatever its spelling."""
    assert _ended({key: "s3cr3t"}).attributes[key] == REDACTED
    assert _ended({key: ["s3cr3t", "other"]}).attributes[key] == [REDACTED, REDACTED]


@pytest.mark.parametrize(
    "key",
    ["token.count", "gen_ai.usage.input_tokens", "session.id", "cookies.enabled", "author", "secretary", "keyboard"],
)
def test_keys_that_only_look_like_it(key: str) -> None:
    """Keys that merely contain such a word keep their values: a redacted metric helps nobody."""
    assert _ended({key: "7"}).attributes[key] == "7"


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("https://user:pw@host/p?q=1", "https://REDACTED:REDACTED@host/p?q=1"),
        ("postgresql://u@db:5432/x", "postgresql://REDACTED:REDACTED@db:5432/x"),
        ("https://h/p?sig=abc&x=1", f"https://h/p?sig={REDACTED}&x=1"),
        ("https://h/p?x=1&Signature=abc%3D#f", f"https://h/p?x=1&Signature={REDACTED}#f"),
        (
            "https://h/?AWSAccessKeyId=AK&X-Amz-Signature=1&X-Goog-Signature=2",
            f"https://h/?AWSAccessKeyId={REDACTED}&X-Amz-Signature={REDACTED}&X-Goog-Signature={REDACTED}",
        ),
        ("https://h/?access_token=t&page=2", f"https://h/?access_token={REDACTED}&page=2"),
        ("https://h/p@x?mail=a", "https://h/p@x?mail=a"),
        ("https://h/?design=1&assigned=2", "https://h/?design=1&assigned=2"),
    ],
)
def test_urls(url: str, redacted: str) -> None:
    """User info and the parameters that semantic conventions name are replaced, all else is kept."""
    assert redact_url(url) == redacted
    assert _ended({"url.full": url}).attributes["url.full"] == redacted
    assert _ended({"note": f"see {url} ok"}).attributes["note"] == f"see {redacted} ok"


def test_query_without_its_url() -> None:
    """`url.query` and `http.target` hold parameters without a scheme before them."""
    assert _ended({"url.query": "sig=abc&q=1"}).attributes["url.query"] == f"sig={REDACTED}&q=1"
    assert _ended({"http.target": "/p?token=abc"}).attributes["http.target"] == f"/p?token={REDACTED}"


def test_everywhere_on_the_span() -> None:
    """Events, link attributes, exception messages, the status message and the name are looked at, too."""
    pipeline = SpanPipeline(PipelineConfig(processors=[Redactor()]), _Keep())
    other = pipeline.start("other")
    with pytest.raises(ValueError, match="pw"), pipeline.start("GET https://u:pw@h/") as span:
        span.add_event("e", {"password": "x"})
        span.add_link(other.trace_context, {"cookie": "x"})
        raise ValueError("cannot reach https://u:pw@h/")
    assert span.name == "GET https://REDACTED:REDACTED@h/"
    assert span.events[0].attributes == {"password": REDACTED}
    assert span.links[0].attributes == {"cookie": REDACTED}
    assert "pw" not in str(span.events[1].attributes)
    assert span.status is SpanStatusCode.ERROR
    assert span.status_message is not None
    assert "pw" not in span.status_message


def test_values_of_other_types() -> None:
    """Bytes, mappings and objects are looked at as the text that the export would make of them."""

    class Url:
        def __str__(self) -> str:
            return "https://u:pw@h/"

    span = _ended({"bytes": b"https://u:pw@h/", "object": Url(), "mapping": {"password": "pw", "n": 1}, "number": 5})
    assert "pw" not in str(span.attributes)
    assert span.attributes["number"] == 5


def test_emails_and_cards_by_option() -> None:
    """E-mail addresses and card numbers are replaced only when asked for, cards only with a right check digit."""
    text = "mail a.b@example.com card 4111 1111 1111 1111 order 4111111111111112"
    assert _ended({"http.route": text}).attributes["http.route"] == text
    rules = RedactionRules(emails=True, cards=True)
    assert _ended({"http.route": text}, rules).attributes["http.route"] == (
        f"mail {REDACTED} card {REDACTED} order 4111111111111112"
    )
    assert _ended({}, rules, name="to a@b.io").name == f"to {REDACTED}"


def test_custom_patterns() -> None:
    """Patterns for keys and for values add to the built-in rules; a bad one is named at start-up."""
    rules = RedactionRules(keys=(r"^patient\.",), values=(r"\bSSN-\d+",))
    span = _ended({"patient.name": "Ann", "note": "SSN-12 ok", "password": "x"}, rules)
    assert span.attributes == {"patient.name": REDACTED, "note": f"{REDACTED} ok", "password": REDACTED}
    with pytest.raises(ValueError, match=r"'\('.*regular expression"):
        Redactor(RedactionRules(keys=("(",)))


def test_hook() -> None:
    """The hook sees every attribute that the rules left and may replace it."""
    seen: list[str] = []

    def hook(key: str, value: Any) -> Any | None:
        seen.append(key)
        return value.upper() if key == "name" else None

    assert _ended({"name": "ann", "http.route": "/x"}, hook=hook).attributes == {"name": "ANN", "http.route": "/x"}
    assert seen == ["name", "http.route"]


def test_failure_withholds(caplog: pytest.LogCaptureFixture) -> None:
    """When redaction itself fails the attributes are withheld rather than sent as they are."""

    def hook(key: str, value: Any) -> Any | None:
        raise RuntimeError("broken")

    span = _ended({"a": "https://u:pw@h/"}, hook=hook, event={"b": "secret"})
    assert span.attributes == {}
    assert span.events == []
    assert "withheld" in caplog.text


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=5), st.text())
def test_any_input(attributes: dict[str, Any], name: str) -> None:
    """No attribute, key or name makes redaction fail, and numbers of harmless keys are left as they are."""
    span = _ended({**attributes, "http.response.status_code": 200}, RedactionRules(emails=True, cards=True), name=name)
    assert span.attributes["http.response.status_code"] == 200


@given(st.lists(st.text(alphabet="abc:/@?#&=.", max_size=30), max_size=3))
def test_redaction_is_idempotent(parts: Sequence[str]) -> None:
    """Redacting twice gives what redacting once gives."""
    once = redact_url("://".join(parts))
    assert redact_url(once) == once
