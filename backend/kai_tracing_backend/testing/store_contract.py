"""What every span store must do: subclass `SpanStoreContract`, say how to open the store, and pytest runs it all."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kai_tracing_backend.columns import ARRIVAL, SpanColumns
from kai_tracing_backend.language import all_of, parse_condition
from kai_tracing_backend.model import Edge, Operation, Scope, SpanEvent, SpanLink, StoredSpan
from kai_tracing_backend.storage.contract import SpanStore, StoreError
from kai_tracing_core.testing.suite import ContractSuite

__all__ = ["OpenedStore", "SpanStoreContract", "batch", "span"]

MINUTE = 60_000_000_000
DAY = 1440 * MINUTE
NOON = 20_000 * DAY + DAY // 2
"""2024-10-04, 12:00 UTC."""
EVER = (0, 1 << 62)


def span(
    trace: int = 1, own: int = 1, parent: int = 0, *, at: int = NOON, service: str = "a", **fields: Any
) -> StoredSpan:
    """A span with these ids; everything else has a default."""
    return StoredSpan(
        **{
            "trace_id": f"{trace:032x}",
            "span_id": f"{own:016x}",
            "parent_id": f"{parent:016x}" if parent else None,
            "name": "op",
            "service": service,
            "start_time": at,
            "duration": 1_000_000,
            "resource": {"service.name": service},
            **fields,
        }
    )


def batch(*spans: StoredSpan) -> Any:
    """These spans as the store takes them."""
    columns = SpanColumns()
    for one in spans:
        columns.add_span(one)
    return columns.finish()


class OpenedStore(ContractSuite, ABC, contract=True):
    """What every contract starts with: say how the store is opened.

    What a store cannot do by its nature is denied by a class attribute of its test class. The tests that need it are
    then left out, and no others: one that is overridden, deleted or skipped fails `test_no_contract_test_is_silenced`.
    """

    durable: ClassVar[bool] = True
    """Whether spans outlive the process. Where not, tests go on with the same store instead of opening it again."""

    interruptible: ClassVar[bool] = True
    """Whether reads keep to the bounds of their `Cancellation`."""

    archiving: ClassVar[bool] = True
    """Whether `retention.discard` gives away what goes (`keep_copy`)."""

    @abstractmethod
    def open(self, folder: Path) -> SpanStore:
        """The store that keeps its files, if it has any, in this folder."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SpanStore]:
        """An empty store."""
        opened = self.open(tmp_path / "data")
        yield opened
        opened.close()

    def reopened(self, store: SpanStore, tmp_path: Path) -> SpanStore:
        """The store closed and opened again where it is durable; the caller closes it."""
        if not self.durable:
            return store
        store.close()
        return self.open(tmp_path / "data")


class SpanStoreContract(OpenedStore, contract=True):
    """The tests; those of retention are in `retention_contract.RetentionContract`."""

    # -- spans -------------------------------------------------------------------------------------------------------

    def test_every_field_comes_back_as_it_went_in(self, store: SpanStore, tmp_path: Path) -> None:
        """Attributes keep their types, nested ones too, and survive a restart."""
        attributes: dict[str, Any] = {
            "text": "ä\U0001f600\0",
            "empty": "",
            "int": -(1 << 63),
            "big": (1 << 63) - 1,
            "double": 0.1,
            "whole": 1.0,
            "infinite": -math.inf,
            "yes": True,
            "no": False,
            "bytes": b"\0\xff",
            "list": ["a", "b"],
            "nothing": None,
            "nested": {"deep": [1, 2.0, {"x": b"y"}], "": None},
            "http.route": "/a",
            "http.response.status_code": 200,
            "server.port": "8080",  # not of the usual type
            "": "a key may be empty",
        }
        rich = span(
            (1 << 127) + 5,
            (1 << 63) + 1,
            (1 << 64) - 1,
            duration=0,
            kind=3,
            status=2,
            status_message="why",
            trace_state="ot=th:8",
            flags=0x103,
            adjusted_count=2.0,
            attributes=attributes,
            events=[SpanEvent(NOON + 1, "e", attributes, 3), SpanEvent(NOON, "f")],
            links=[SpanLink("f" * 32, "e" * 16, "a=b", {"n": 1}, 1, 2)],
            resource={"service.name": "a", "process.pid": 1, "args": ["x"]},
            resource_schema_url="https://schema/1",
            scope=Scope("lib", "1.0", {"k": 1.0}, "https://schema/2"),
            dropped_attributes=1,
            dropped_events=2,
            dropped_links=3,
        )
        assert store.write(batch(rich, span(7))) == 2
        assert store.trace(rich.trace_id) == [rich]
        again = self.reopened(store, tmp_path)
        try:
            (found,) = again.trace(rich.trace_id)
            assert found == rich
            assert {key: type(value) for key, value in found.attributes.items()} == {
                key: type(value) for key, value in attributes.items()
            }
        finally:
            again.close()

    def test_a_trace_is_whole_whenever_its_spans_came(self, store: SpanStore) -> None:
        """Over several batches and over midnight; sorted by start."""
        store.write(batch(span(1, 3, 1, at=NOON + DAY)))
        store.write(batch(span(1, 1, at=NOON), span(2, 1)))
        store.write(batch(span(1, 2, 1, at=NOON + 1)))
        assert [int(found.span_id) for found in store.trace(f"{1:032x}")] == [1, 2, 3]
        assert store.trace("2") == store.trace(f"{2:032x}") != []
        assert store.trace("ff") == []

    @pytest.mark.parametrize("wrong", ["", "xyz", "0" * 33])
    def test_what_is_no_trace_id_is_refused(self, store: SpanStore, wrong: str) -> None:
        """With a ValueError, which is not a fault of the store."""
        with pytest.raises(ValueError, match=r"."):
            store.trace(wrong)

    def test_several_traces_at_once(self, store: SpanStore) -> None:
        """In the order of their ids, each as it is alone, over midnight, too; unknown ones are left out."""
        store.write(batch(span(1, 2, 1, at=NOON + DAY), span(1, 1), span(2, 1), span(3, 1)))
        assert store.traces(["3", "9", f"{1:032x}"]) == [store.trace("3"), store.trace("1")]
        assert store.traces([]) == []
        with pytest.raises(ValueError, match=r"."):
            store.traces(["1", "x"])

    def test_attributes_to_choose_from(self, store: SpanStore) -> None:
        """Keys by scope and type, values of any type, the most frequent first, of the window alone, over days."""
        store.write(
            batch(
                span(1, attributes={"http.route": "/a", "n": 1, "odd": [1]}),
                span(2, attributes={"http.route": "/b", "n": 1}, service="b"),
                span(3, attributes={"http.route": "/b", "n": "1", "yes": True}, at=NOON + DAY, name="other"),
                span(4, attributes={"later": 1.5}, at=NOON + 3 * DAY),
            )
        )
        window = (NOON, NOON + 2 * DAY)
        keys = {(one.scope, one.key, one.type): one.spans for one in store.attribute_keys(*window)}
        assert keys == {
            ("span", "http.route", "string"): 3,
            ("resource", "service.name", "string"): 3,
            ("span", "n", "int"): 2,
            ("span", "n", "string"): 1,
            ("span", "odd", "other"): 1,
            ("span", "yes", "bool"): 1,
        }
        assert [one.key for one in store.attribute_keys(*window, limit=1)] == ["service.name"]
        routes = [(one.value, one.spans) for one in store.attribute_values("http.route", *window)]
        assert routes == [("/b", 2), ("/a", 1)]
        numbers = [(one.value, one.spans) for one in store.attribute_values("n", *window)]
        assert numbers == [(1, 2), ("1", 1)]
        services = store.attribute_values("service.name", *window, scope="resource", prefix="a")
        assert [(one.value, one.spans) for one in services] == [("a", 2)]
        assert store.attribute_values("service.name", *window, scope="span") == []
        names = store.attribute_values("name", *window, scope="intrinsic")
        assert [(one.value, one.spans) for one in names] == [("op", 2), ("other", 1)]
        of_b = parse_condition("{ resource.service.name = `b` }")
        for key, scope, value in (("http.route", "span", "/b"), ("service.name", "resource", "b")):
            of_service = store.attribute_values(key, *window, scope=scope, where=of_b)
            assert [(one.value, one.spans) for one in of_service] == [(value, 1)]
        assert (
            store.attribute_values(
                "name", *window, scope="intrinsic", where=parse_condition("{ resource.service.name = `nobody` }")
            )
            == []
        )
        assert store.attribute_values("later", *window) == []
        few = store.attribute_keys(*window, scope="span", prefix="n", where=parse_condition("{ name != `other` }"))
        assert [(one.key, one.type, one.spans) for one in few] == [("n", "int", 2)]
        both = parse_condition("{ .n = 1 && resource.service.name = `a` || span.yes }")
        found = {(one.scope, one.key): one.spans for one in store.attribute_keys(*window, where=both)}
        assert found == {
            ("span", "http.route"): 2,
            ("span", "n"): 1,
            ("span", "odd"): 1,
            ("span", "yes"): 1,
            ("resource", "service.name"): 2,
        }

    def test_trace_ids_by_how_they_begin(self, store: SpanStore) -> None:
        """By any number of digits, over days, each once, in order, and no more than are wanted."""
        ids = ["0af7" + "0" * 28, "0af7651916cd43dd8448eb211c80319c", "0af7651916cd43dd9448eb211c80319c", "b" * 32]
        for day, one in enumerate(ids):
            store.write(batch(span(int(one, 16), at=NOON + day * DAY), span(int(one, 16), 2, at=NOON)))
        assert store.trace_ids("0af7") == ids[:3]
        assert store.trace_ids("0AF7651916cd43dd8") == [ids[1]]
        assert store.trace_ids("0af7651916cd43dd") == ids[1:3]
        assert store.trace_ids(ids[1]) == [ids[1]]
        assert store.trace_ids("b") == [ids[3]]
        assert store.trace_ids("0", limit=2) == ids[:2]
        short = "0" * 16 + "cd43dd8448eb211c"
        store.write(batch(span(int(short, 16), at=NOON)))
        assert store.trace_ids("cd43") == store.trace_ids(short[16:]) == store.trace_ids(short) == [short]
        assert store.trace_ids("d43") == store.trace_ids("cd43dd8448eb211c0") == []
        for wrong in ("", "xyz", "0" * 33):
            with pytest.raises(ValueError, match=r"."):
                store.trace_ids(wrong)

    def test_a_second_delivery_counts_nowhere(self, store: SpanStore, tmp_path: Path) -> None:
        """A retry, also in part, in one batch, and after a restart, changes neither traces nor rates nor edges."""
        first, second = span(1, 1), span(1, 2, 1, service="b")
        assert store.write(batch(first, second, first)) == 2
        assert store.write(batch(first, second)) == 0
        assert store.write(batch(second, span(1, 3, 2, service="b"))) == 1
        again = self.reopened(store, tmp_path)
        try:
            assert again.write(batch(first, second)) == 0
            assert len(again.trace("1")) == 3
            assert sum(rate.spans for rate in again.rates(*EVER)) == 3
            assert again.dependencies(*EVER) == [Edge("a", "b", 1, 1.0, 0)]
        finally:
            again.close()

    def test_a_retry_is_known_whenever_it_arrives(self, store: SpanStore) -> None:
        """What has no other time is there once: in one batch, later, over midnight. Another service's is another."""
        first, later, other = (
            span(1, 1, at=at, service=service, flags=ARRIVAL)
            for at, service in ((NOON, "a"), (NOON + DAY // 2, "a"), (NOON + 2, "b"))
        )
        assert store.write(batch(first, later)) == 1
        assert store.write(batch(later)) == store.write(batch(first)) == 0
        assert store.write(batch(other, span(1, 1, at=NOON + 1))) == 2
        assert sum(rate.spans for rate in store.rates(*EVER)) == len(store.trace("1")) == 3

    def test_two_spans_may_share_an_id(self, store: SpanStore) -> None:
        """Zipkin's client and server do: another kind or another start is another span."""
        assert store.write(batch(span(1, 1, kind=3), span(1, 1, kind=2), span(1, 1, kind=2, at=NOON + 1))) == 3
        assert len(store.trace("1")) == 3

    # -- rollups -----------------------------------------------------------------------------------------------------

    def test_services_and_operations_of_a_window(self, store: SpanStore) -> None:
        """By name, to the minute."""
        store.write(batch(span(service="b", name="y", kind=2), span(2, service="b", name="x"), span(3, service="a")))
        store.write(batch(span(4, service="c", at=NOON + 2 * MINUTE), span(5, service="b", name="x")))
        assert store.services() == ["a", "b", "c"]
        assert store.services(NOON, NOON + MINUTE) == ["a", "b"]
        assert store.services(NOON + MINUTE, NOON + 3 * MINUTE) == ["c"]
        assert store.operations("b") == [Operation("x", 0), Operation("y", 2)]
        assert store.operations("none") == []

    def test_rates_count_what_the_spans_stand_for(self, store: SpanStore) -> None:
        """Weights by adjusted count; quantiles within 1 % over several batches; separate by status and kind."""
        durations = [1_000 * number**2 for number in range(1, 1_001)]
        for part in range(4):
            store.write(
                batch(*(span(n, n, duration=durations[n - 1], adjusted_count=4.0) for n in range(part + 1, 1_001, 4)))
            )
        store.write(batch(span(2_000, status=2, duration=0)))
        ok, failed = store.rates(NOON, NOON + MINUTE)
        assert (ok.status, ok.spans, ok.weight) == (0, 1_000, 4_000.0)
        assert (ok.min_duration, ok.max_duration) == (durations[0], durations[-1])
        assert ok.total_duration == pytest.approx(4.0 * sum(durations))
        for q in (0.5, 0.9, 0.99):
            assert ok.quantile(q) == pytest.approx(durations[int(q * 1_000) - 1], rel=0.0101)
        assert (failed.status, failed.spans, failed.weight, failed.quantile(0.5)) == (2, 1, 1.0, 0.0)
        assert store.rates(NOON + MINUTE, NOON + DAY) == []

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    @pytest.mark.parametrize("apart", [False, True])
    @pytest.mark.parametrize("later", [1, DAY // 2])
    def test_a_call_counts_once_whichever_side_comes_first(
        self, store: SpanStore, order: tuple[int, int], apart: bool, later: int
    ) -> None:
        """Parent first, child first, both at once, over midnight: one edge, in the minute of the child."""
        sides = [span(1, 1, service="a"), span(1, 2, 1, service="b", at=NOON + later, status=2, adjusted_count=3.0)]
        ordered = [sides[index] for index in order]
        for delivered in [[one] for one in ordered] if apart else [ordered]:
            store.write(batch(*delivered))
        store.write(batch(*sides))
        assert store.dependencies(NOON + later, NOON + later + 1) == [Edge("a", "b", 1, 3.0, 1)]
        assert store.dependencies(NOON + later - 2 * MINUTE, NOON + later - MINUTE) == []

    def test_calls_inside_a_service_are_no_dependency(self, store: SpanStore) -> None:
        """Nor is a span id that another trace has, too."""
        store.write(batch(span(1, 1), span(1, 2, 1), span(2, 9, 1, service="b")))
        assert store.dependencies(*EVER) == []

    # -- days --------------------------------------------------------------------------------------------------------

    def test_a_deleted_day_is_gone_but_for_its_rollups(self, store: SpanStore, tmp_path: Path) -> None:
        """Spans go, rates and edges stay, and late spans of that day add to them; a restart changes nothing."""
        store.write(batch(span(1, 1), span(1, 2, 1, service="b"), span(2, 1, at=NOON + DAY)))
        assert store.days() == [date(2024, 10, 5), date(2024, 10, 4)]
        store.delete_day(date(2024, 10, 4))
        store.delete_day(date(1999, 1, 1))
        assert store.trace("1") == []
        store.write(batch(span(3, 1, service="c")))
        again = self.reopened(store, tmp_path)
        try:
            assert again.days() == [date(2024, 10, 5), date(2024, 10, 4)]
            page = again.search(all_of(), *EVER)
            assert [int(one.summary.trace_id, 16) for one in page.traces] == [2, 3]
            assert sum(rate.spans for rate in again.rates(NOON, NOON + MINUTE)) == 3
            assert again.dependencies(*EVER) == [Edge("a", "b", 1, 1.0, 0)]
            assert again.services() == ["a", "b", "c"]
        finally:
            again.close()

    def test_a_closed_store_says_so(self, store: SpanStore) -> None:
        """Whatever it is asked."""
        store.close()
        store.close()
        with pytest.raises(StoreError):
            store.write(batch(span()))
        with pytest.raises(StoreError):
            store.services()
