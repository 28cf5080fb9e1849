"""What redaction, which is on by default, adds to a span, against the same span without it."""

from __future__ import annotations

from typing import Any

from benchmarks import peers
from benchmarks.measure import calling_thread
from benchmarks.row import Row

CHUNK = 1200

_KNOWN = {"http.route": "/cart", "http.response.status_code": 200}
_OWN = {"cart.id": "A-17", "note": "see https://ann:pw@shop.example.org/?sig=abc"}


def _case(attributes: dict[str, Any], *, redact: bool) -> float:
    from kai_tracing_core import TracingService
    from kai_tracing_core.processing.redaction import Redactor

    tracing = TracingService(peers.kai_provider(processors=[Redactor()] if redact else []))

    def body(turns: int) -> None:
        span = tracing.span
        for _ in range(turns):
            with span("GET /cart", attributes=attributes):
                pass

    return calling_thread(body, chunk=CHUNK, between=tracing.flush)


def known_keys_redacted() -> float:
    return _case(_KNOWN, redact=True)


def known_keys_plain() -> float:
    return _case(_KNOWN, redact=False)


def own_keys_redacted() -> float:
    return _case(_OWN, redact=True)


def own_keys_plain() -> float:
    return _case(_OWN, redact=False)


_WITHOUT = "the same without redaction"

ROWS = [
    Row("redaction, keys of the semantic conventions", known_keys_redacted, known_keys_plain, _WITHOUT, budget=1.4),
    Row("redaction, other keys, a URL with a password", own_keys_redacted, own_keys_plain, _WITHOUT, budget=4.0),
]
