"""Secrets are taken out of a span while it ends, before anybody else sees it: the last `on_ending` of the pipeline.

Most attribute keys of a program are few and harmless. Those that the semantic conventions define and that cannot
hold a secret are known from the start, so a span with only such keys costs one set comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.records import NamedTuple
from kai_tracing_core.span import Span
from kai_tracing_core.span_parts import Rare

__all__ = ["REDACTED", "RedactionRules", "Redactor", "redact_url"]

logger = lazy_logger(__name__)

REDACTED = "[REDACTED]"

_SENSITIVE_KEY = (
    r"(?:^|[._\-\s])(?:(?:proxy[-_])?authorization|(?:set[-_])?cookie2?|passwd|passw(?:or)?d|pwd|passphrase|secret"
    r"|(?:client|shared|app)[-_]?secret|credentials?|(?:x[-_])?(?:api|access|private|secret|auth|subscription)[-_]?key"
    r"|apikey|(?:[a-z0-9]+[-_])*token|jwt|(?:x[-_])?csrf(?:[-_]?token)?|connection[-_]?string)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# Semantic conventions, "HTTP spans": user info in URLs, and these query parameters. The rest are their like.
_USER_INFO = re.compile(r"(?<=://)[^/@\s?#]*@")
_SIGNED_QUERY = (
    r"([?&;](?:sig|signature|awsaccesskeyid|x-amz-[a-z-]+|x-goog-[a-z-]+|googleaccessid|passw(?:or)?d|pwd|passwd"
    r"|(?:[a-z0-9]+[-_])*token|(?:[a-z0-9]+[-_])*secret|(?:x-)?api[-_]?key|apikey|access[-_]?key|auth|jwt|code"
    r"|session(?:[-_]?id)?)=)[^&;#\s\"'<>]*"
)
_URL_KEYS = frozenset(("url.query", "http.target", "url.full", "http.url", "url.original"))

_EMAIL = r"[A-Za-z0-9._%+\-]{1,64}@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}"
_CARD = r"(?<![\d.])\d(?:[ \-]?\d){12,18}(?![\d.])"

_HARMLESS = frozenset(
    """
    client.port code.function.name code.line.number db.collection.name db.namespace db.operation db.operation.name
    db.response.returned_rows db.response.status_code db.system db.system.name enduser.scope error.type
    exception.escaped exception.type faas.trigger http.method http.request.body.size http.request.method
    http.request.resend_count http.request.size http.response.body.size http.response.size http.response.status_code
    http.route http.scheme http.status_code messaging.batch.message_count messaging.destination.name
    messaging.message.body.size messaging.operation.name messaging.operation.type messaging.system
    network.peer.port network.protocol.name network.protocol.version network.transport network.type
    otel.status_code peer.service process.pid rpc.grpc.status_code rpc.method rpc.service rpc.system server.address
    server.port service.name service.namespace service.version span.kind thread.id thread.name url.scheme
    url.template
    """.split()
)


def redact_url(text: str) -> str:
    """`text` without user info and without the values of signing and password parameters in the URLs it contains."""
    # Nearly every URL is harmless, and substituting nothing costs three times what searching does.
    if "@" in text:
        text = _USER_INFO.sub("REDACTED:REDACTED@", text)
    if "=" in text and (secret := _caseless(_SIGNED_QUERY)).search(text):
        text = secret.sub(_redact_value, text)
    return text


def _redact_value(parameter: re.Match[str]) -> str:
    # A template instead of a function takes three times as long.
    return parameter[1] + REDACTED


@cache
def _caseless(pattern: str) -> re.Pattern[str]:
    """Compiled when a span has something to look at: until then it would be a tenth of what a start takes."""
    return re.compile(pattern, re.IGNORECASE)


class RedactionRules(NamedTuple):
    """What else is secret, beside keys that say so and passwords in URLs.

    `keys` are regular expressions searched in attribute keys, whose values are then replaced as a whole; `values`
    ones whose matches are replaced inside string values. `emails` and `cards` replace e-mail addresses and payment
    card numbers (those whose check digit is right) in every string value, which then all have to be looked at.
    """

    keys: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    emails: bool = False
    cards: bool = False


class Redactor(SpanProcessor):
    """Replaces secrets in attributes, events, link attributes, the name and the status message of ending spans.

    A secret is the value of a key that names one (`http.request.header.authorization`, `db.password`), user info and
    signatures in URLs, and what the rules add. `hook(key, value)` may return a replacement.
    """

    trusted = True

    def __init__(
        self, rules: RedactionRules | None = None, hook: Callable[[str, Any], Any | None] | None = None
    ) -> None:
        """Raises ValueError, naming it, for a pattern that is not a regular expression."""
        rules = rules or RedactionRules()
        self._secret_keys = [_compile(pattern) for pattern in rules.keys]
        self._edits = _edits(rules)
        self._hook = hook
        # With rules about values no key is harmless.
        self._harmless = frozenset[str]() if self._edits or hook or rules.keys else _HARMLESS
        self._is_secret: dict[str, bool] = {}

    def on_ending(self, span: Span) -> None:
        """Take the secrets out of the span. Never raises: what cannot be looked at is replaced."""
        try:
            if type(span.name) is not str:
                span._mend()
            if not self._harmless.issuperset(span._attributes):
                self._redact(span._attributes)
            if span._rare is not None:
                self._redact_rare(span._rare)
            if "://" in span.name or self._edits:
                span.name = self._text(span.name)
        except Exception:
            logger.exception("redaction failed; the span's attributes and events are withheld")
            span._attributes = {}
            if span._rare is not None:
                span._rare.events = None

    def _redact_rare(self, rare: Rare) -> None:
        for event in rare.events or ():
            if event.attributes:
                self._redact(event.attributes)  # type: ignore[arg-type]  # a dict, which only Span fills
        for link in rare.links or ():
            if link.attributes:
                self._redact(link.attributes)  # type: ignore[arg-type]  # likewise
        if rare.message is not None:
            rare.message = self._text(rare.message)

    def _redact(self, attributes: dict[str, Any]) -> None:
        harmless = self._harmless
        for key, value in attributes.items():
            if key in harmless:
                continue
            kind = type(value)
            if self._names_secret(key):
                attributes[key] = [REDACTED] * len(value) if kind in (list, tuple) else REDACTED
                continue
            if kind is str:
                if "://" in value or self._edits or key in _URL_KEYS:
                    attributes[key] = self._text(value, key in _URL_KEYS)
            elif kind in (list, tuple):
                attributes[key] = [self._text(item) if isinstance(item, str) else item for item in value]
            elif kind not in _PLAIN:
                # What str() will make of it at export may hold a secret, too.
                attributes[key] = self._convert(value)
            if self._hook is not None and (replacement := self._hook(key, attributes[key])) is not None:
                attributes[key] = replacement

    def _names_secret(self, key: str) -> bool:
        secret = self._is_secret.get(key)
        if secret is None:
            # A key that is no text is not exported, and must not cost the span its other attributes.
            text = key if isinstance(key, str) else ""
            spaced = _CAMEL.sub("_", text)
            patterns = (_caseless(_SENSITIVE_KEY), *self._secret_keys)
            secret = any(pattern.search(spaced) or pattern.search(text) for pattern in patterns)
            if len(self._is_secret) < 10_000:
                self._is_secret[key] = secret
        return secret

    def _text(self, text: str, is_query: bool = False) -> str:
        if is_query and "?" not in text:
            text = redact_url("?" + text)[1:]
        elif "://" in text or is_query:
            text = redact_url(text)
        for edit in self._edits:
            text = edit(text)
        return text

    def _convert(self, value: Any) -> Any:
        if isinstance(value, (bytes, bytearray)):
            return self._text(bytes(value).decode("utf-8", "replace"))
        if isinstance(value, Mapping):
            inner = {str(key): item for key, item in value.items()}
            self._redact(inner)
            return inner
        return self._text(str(value))


_PLAIN = frozenset((int, float, bool, type(None)))


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error


def _edits(rules: RedactionRules) -> list[Callable[[str], str]]:
    edits = [_substitution(_compile(pattern)) for pattern in rules.values]
    if rules.emails:
        edits.append(_substitution(re.compile(_EMAIL)))
    if rules.cards:
        edits.append(partial(re.compile(_CARD).sub, _card))
    return edits


def _substitution(pattern: re.Pattern[str]) -> Callable[[str], str]:
    return lambda text: pattern.sub(REDACTED, text)


def _card(match: re.Match[str]) -> str:
    return REDACTED if _has_luhn_digit(int(digit) for digit in match[0] if digit.isdigit()) else match[0]


def _has_luhn_digit(digits: Iterable[int]) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, digit in enumerate(reversed(list(digits))):
        doubled = digit * 2 if position % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0
