"""The services of the shop. `python -m kai_tracing_core.demo.shop NAME [PEER=URL …]` runs one of them."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from kai_tracing_core import SpanKind, tracing
from kai_tracing_core.demo.http import CallFailed, Route, call, serve

__all__ = ["SERVICES"]

Peers = Mapping[str, str]
"""The addresses of other services, by name."""

Routes = Mapping[str, Route]

_PRICES = {"lamp": 4900, "chair": 12900, "table": 39900}
_SLOW_QUERY = 0.25  # seconds


def catalog(_: Peers) -> Routes:
    """Knows the products. Every third listing is slow: it has to go to the disk."""
    listings = itertools.count(1)

    def products() -> list[str]:
        with tracing.span("SELECT products", kind=SpanKind.CLIENT, attributes={"db.system.name": "postgresql"}) as span:
            cached = next(listings) % 3 != 0
            span.set_attribute("shop.cached", cached)
            if not cached:
                span.add_event("cache miss", {"shop.products": len(_PRICES)})
                time.sleep(_SLOW_QUERY)
            return sorted(_PRICES)

    def price(product: str) -> int:
        return _PRICES[product]

    return {"GET /products": products, "GET /price": price}


def cart(peers: Peers) -> Routes:
    """Holds what the shopper wants, at the price that the catalog says."""
    items: dict[str, int] = {}

    def add(product: str) -> int:
        items[product] = call("GET", f"{peers['catalog']}/price?product={product}")
        return len(items)

    @tracing.traced("sum up", attributes={"shop.currency": "EUR"})
    def total() -> int:
        tracing.add_span_attributes(tracing.get_current_span(), {"shop.items": len(items)})
        return sum(items.values())

    return {"POST /items": add, "GET /total": total}


def payment(_: Peers) -> Routes:
    """Charges cards. The bank does not answer every third time."""
    charges = itertools.count(1)

    def charge(amount: str) -> str:
        with tracing.span("authorize card", attributes={"payment.amount": int(amount)}):
            if next(charges) % 3 == 0:
                raise ConnectionError("the bank does not answer")
            return "paid"

    return {"POST /charges": charge}


def checkout(peers: Peers) -> Routes:
    """Makes an order of a cart: asks the sum, charges the card, and tries once more if that failed."""

    def order() -> str:
        amount = call("GET", f"{peers['cart']}/total")
        url = f"{peers['payment']}/charges?amount={amount}"
        try:
            call("POST", url)
        except CallFailed as error:
            tracing.add_span_event(tracing.get_current_span(), "retry", {"reason": str(error)})
            call("POST", url)
        with tracing.span(
            "orders publish", kind=SpanKind.PRODUCER, attributes={"messaging.destination.name": "orders"}
        ):
            return "ordered"

    return {"POST /orders": order}


def gateway(peers: Peers) -> Routes:
    """What the shopper sees: hands every request to the service that knows."""

    def to(method: str, service: str, path: str) -> Route:
        def forward(**query: str) -> Any:
            return call(method, f"{peers[service]}{path}?{urlencode(query)}")

        return forward

    return {
        "GET /browse": to("GET", "catalog", "/products"),
        "POST /cart": to("POST", "cart", "/items"),
        "POST /buy": to("POST", "checkout", "/orders"),
    }


SERVICES: Mapping[str, Callable[[Peers], Routes]] = {
    "catalog": catalog,
    "cart": cart,
    "payment": payment,
    "checkout": checkout,
    "gateway": gateway,
}
"""Every service, each after those that it calls."""


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    serve(SERVICES[name](dict(argument.split("=", 1) for argument in arguments)))
