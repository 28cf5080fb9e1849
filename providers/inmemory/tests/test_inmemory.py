"""The in-memory provider's own: queries, trees, the cap and the counts."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from kai_tracing_inmemory import InMemoryProvider
from kai_tracing_inmemory.tree import build_tree

from kai_tracing_core import SpanKind, SpanOptions, SpanStatusCode, TraceContext, TracingService, initialize_tracing
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.testing.ids import FixedClock, FixedIds

REMOTE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, is_remote=True)


@pytest.fixture
def provider() -> InMemoryProvider:
    """A provider whose clock goes on by a millisecond each time it is read."""
    return InMemoryProvider(config=PipelineConfig(ids=FixedIds(), clock=FixedClock(step=0.001)))


def record_a_shop(provider: InMemoryProvider) -> None:
    """Two traces: a checkout that fails in its payment, and a request from elsewhere."""
    with provider.span("checkout", kind=SpanKind.SERVER, attributes={"cart.items": 3}):
        with provider.span("load cart", attributes={"cart.items": 3, "db.system": "redis"}):
            pass
        with provider.span("pay", kind=SpanKind.CLIENT) as pay, provider.span("connect"):
            pay.set_status(SpanStatusCode.ERROR, "declined")
    with provider.span("GET /health", parent=REMOTE):
        pass


def test_find(provider: InMemoryProvider) -> None:
    """By name or pattern, kind, attributes, status and trace, and all of them together; in the order of the ends."""
    record_a_shop(provider)

    def names(*args: object, **criteria: object) -> list[str]:
        return [span.name for span in provider.find(*args, **criteria)]  # handed on

    assert names() == ["load cart", "connect", "pay", "checkout", "GET /health"]
    assert names("pay") == ["pay"]
    assert names(re.compile("ca|^GET")) == ["load cart", "GET /health"]
    assert names(kind=SpanKind.SERVER) == ["checkout"]
    assert names(kind=SpanKind.INTERNAL, attributes={"cart.items": 3}) == ["load cart"]
    assert names(attributes={"cart.items": 3, "missing": None}) == []
    assert names(status=SpanStatusCode.ERROR) == ["pay"]
    assert names(trace_id=REMOTE.trace_id) == ["GET /health"]
    assert names("nothing") == []


def test_get(provider: InMemoryProvider) -> None:
    """The one span that matches; none or several are an error that shows what there is."""
    record_a_shop(provider)
    assert provider.get("pay", kind=SpanKind.CLIENT).status_message == "declined"
    assert provider.get(status=SpanStatusCode.ERROR).name == "pay"
    with pytest.raises(LookupError, match=r"0 spans match \('pey'\); there are:\ncheckout"):
        provider.get("pey")
    with pytest.raises(LookupError, match=r"2 spans match \(attributes=\{'cart.items': 3\}\)"):
        provider.get(attributes={"cart.items": 3})


def test_trees(provider: InMemoryProvider) -> None:
    """Traces as trees in the order of their starts, to be read by people or walked."""
    record_a_shop(provider)
    assert str(provider.tree()) == (
        "checkout  SERVER  7.00 ms\n"
        "├─ load cart  1.00 ms\n"
        "└─ pay  CLIENT  3.00 ms  ERROR declined\n"
        "   └─ connect  1.00 ms\n"
        "GET /health  1.00 ms"
    )
    assert str(provider.tree(REMOTE.trace_id)) == "GET /health  1.00 ms"
    assert str(provider.tree("0" * 32)) == ""
    root, _ = provider.tree()
    assert [node.span.name for node in root] == ["checkout", "load cart", "pay", "connect"]
    assert [span.name for span in provider.roots()] == ["checkout", "GET /health"]


def test_a_branch_that_goes_on(provider: InMemoryProvider) -> None:
    """The lines beside a subtree lead on to its next sibling."""
    with provider.span("root"):
        with provider.span("first"), provider.span("inner"):
            pass
        with provider.span("second"):
            pass
    assert str(provider.tree()).splitlines()[1:] == [
        "├─ first  3.00 ms",
        "│  └─ inner  1.00 ms",
        "└─ second  1.00 ms",
    ]


def test_deep_traces(provider: InMemoryProvider) -> None:
    """A trace may be deeper than Python's stack."""
    parent = None
    for number in range(3000):
        parent = provider.start_span(str(number), SpanOptions(parent=parent, activate=False))
        parent.end()
    assert len(str(provider.tree()).splitlines()) == 3000
    (root,) = provider.tree()
    assert len(list(root)) == 3000


def test_a_span_that_is_its_own_parent(provider: InMemoryProvider) -> None:
    """Broken ids of another system make a root, not a tree without one."""
    span = provider.start_span("odd")
    span._parent_id = span._span_id
    span.end()
    assert [node.span.name for node in build_tree(provider.spans)] == ["odd"]


def test_the_cap() -> None:
    """Beyond the capacity the oldest make room and are counted; the counts come out even."""
    provider = InMemoryProvider(capacity=3)
    for number in range(5):
        provider.start_span(str(number)).end()
    assert [span.name for span in provider.spans] == ["2", "3", "4"]
    stats = provider.stats()
    assert (stats.ended, stats.exported, stats.queued, stats.dropped) == (5, 3, 0, {"capacity": 2})


def test_clearing_is_no_loss(provider: InMemoryProvider) -> None:
    """What is cleared had been kept."""
    record_a_shop(provider)
    provider.clear()
    assert provider.spans == []
    provider.start_span("next").end()
    stats = provider.stats()
    assert (stats.ended, stats.exported, stats.dropped) == (6, 6, {})


def test_counts_of_many_threads() -> None:
    """Threads that end, read and clear at once lose no count."""
    provider = InMemoryProvider(capacity=10)
    together = threading.Barrier(4)

    def work(number: int) -> None:
        together.wait(10)
        for item in range(200):
            provider.start_span(f"{number}", SpanOptions(activate=False)).end()
            if item % 50 == 0:
                provider.clear()
            assert len(provider.find(str(number))) <= 10

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    stats = provider.stats()
    assert stats.ended == stats.started == 800 == stats.exported + sum(stats.dropped.values())


def test_spans_are_there_at_once_and_after_the_shutdown(provider: InMemoryProvider) -> None:
    """No worker, hence nothing to flush; what ends after the shutdown is counted as such."""
    before = threading.active_count()
    provider.start_span("operation").end()
    assert len(provider.spans) == 1
    assert threading.active_count() == before
    assert provider.flush(0)
    assert provider.shutdown(0)
    provider.start_span("late").end()
    assert [span.name for span in provider.spans] == ["operation"]
    assert provider.stats().dropped == {"shut_down": 1}


def test_what_is_only_recorded_is_not_kept() -> None:
    """As with every provider, a span that its sampler wants recorded but not sampled goes nowhere."""

    class RecordOnly(Sampler):
        def should_sample(self, request: SamplingRequest) -> SamplingResult:
            return SamplingResult(SamplingDecision.RECORD_ONLY)

        @property
        def description(self) -> str:
            return "RecordOnly"

    provider = InMemoryProvider(config=PipelineConfig(sampler=RecordOnly()))
    provider.start_span("operation").end()
    assert provider.spans == []
    assert provider.stats().dropped == {"not_sampled": 1}


def test_its_exporter_fills_the_store(provider: InMemoryProvider) -> None:
    """Spans that come in batches are kept like those that come one by one."""
    other = InMemoryProvider()
    record_a_shop(other)
    assert provider.exporter.export(other.spans, 1.0) == 0
    assert provider.spans == other.spans


def test_it_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """`TRACING_TYPE=inmemory`, its capacity from `TRACING_INMEMORY__CAPACITY`."""
    monkeypatch.setenv("TRACING_INMEMORY__CAPACITY", "2")
    service = initialize_tracing(type="inmemory", service=TracingService(auto=False))
    provider = service.provider
    assert isinstance(provider, InMemoryProvider)
    for number in range(3):
        service.span(str(number)).end()
    assert [span.name for span in provider.spans] == ["1", "2"]
    service.shutdown()


@pytest.mark.parametrize("capacity", ["0", "-1", "many"])
def test_a_wrong_capacity_is_refused(monkeypatch: pytest.MonkeyPatch, capacity: str) -> None:
    """Loudly, at the start, naming the setting."""
    monkeypatch.setenv("TRACING_INMEMORY__CAPACITY", capacity)
    with pytest.raises(Exception, match="TRACING_INMEMORY__CAPACITY"):
        initialize_tracing(type="inmemory", service=TracingService(auto=False))
