"""What a sampling policy would have done with recorded traces."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest
from kai_tracing_core.sampling.recording import RecordedSpan
from kai_tracing_core.sampling.tail import Tail
from kai_tracing_core.sampling.tail_policies import TailTrace
from kai_tracing_core.sampling.tail_processor import choose, reweigh
from kai_tracing_core.sampling.threshold import known_count
from kai_tracing_core.span import SpanStatusCode
from kai_tracing_core.trace_context import DEFERRED, RANDOM, SAMPLED, TraceContext

__all__ = ["Estimate", "Lost", "Report", "replay"]

_PERCENTILE = 0.95
_TWO_SIDED_95 = 1.96


@dataclass(frozen=True)
class Lost:
    """Of `total` traces of a kind, `lost` are not kept."""

    total: int
    lost: int


@dataclass(frozen=True)
class Estimate:
    """How many traces of an operation there were, and what the kept ones say: 95 % of such estimates are within `bar`.

    The bar is that of the sampling alone, and too wide for what is no game of chance, such as a rate limit. None says
    that nothing was kept to tell it by.
    """

    operation: str
    true: int
    kept: int
    estimated: float
    bar: float | None


@dataclass(frozen=True)
class Report:
    """What is left of a recording. A trace counts as kept with any span, as partial with some but not all."""

    spans: int
    spans_kept: int
    traces: int
    traces_kept: int
    traces_partial: int
    bytes: int
    bytes_kept: int
    errors: Lost
    slow: Lost
    slow_seconds: float | None
    rates: Sequence[Estimate] = field(default_factory=tuple)


@dataclass(slots=True)
class _Decision:
    sampled: bool
    state: str
    weight: float | None
    local_root: RecordedSpan


class _Replay:
    def __init__(self, spans: Iterable[RecordedSpan], create: Callable[[str, Callable[[], float]], Sampler]) -> None:
        self.spans = sorted(spans, key=lambda span: span._start)
        self._now = 0.0
        self._by_id = {(span.trace_id, span.span_id): span for span in self.spans}
        services = sorted({span.service for span in self.spans})
        self._samplers = {service: create(service, lambda: self._now) for service in services}
        self.decisions: dict[int, _Decision] = {}  # by the span's identity in memory: recordings repeat ids

    def run(self) -> None:
        for span in self.spans:
            self._decide_with_parents(span)
        self._decide_tails()
        for sampler in self._samplers.values():
            sampler.close()

    def parent(self, span: RecordedSpan) -> RecordedSpan | None:
        return self._by_id.get((span.trace_id, span.parent_id)) if span.parent_id else None

    def _decide_with_parents(self, span: RecordedSpan) -> None:
        pending, seen = [span], {id(span)}
        while (parent := self.parent(pending[-1])) is not None and id(parent) not in self.decisions:
            if id(parent) in seen:  # a circle of parents: the last one counts as a root
                break
            seen.add(id(parent))
            pending.append(parent)
        for waiting in reversed(pending):
            if id(waiting) not in self.decisions:
                self.decisions[id(waiting)] = self._decide(waiting)

    def _decide(self, span: RecordedSpan) -> _Decision:
        self._now = span._start / 1e9
        sampler = self._samplers[span.service]
        parent = self.parent(span)
        above = self.decisions.get(id(parent)) if parent is not None else None
        local = parent is not None and parent.service == span.service
        if above is not None and local and sampler.inherits_local:
            return above
        context = None
        if above is not None:
            flags = RANDOM | (SAMPLED if above.sampled else 0)
            context = TraceContext(span.trace_id, span.parent_id, flags, above.state, is_remote=not local)
            context._weight = above.weight if local else None
        elif span.parent_id:
            context = TraceContext(span.trace_id, span.parent_id, RANDOM | DEFERRED, is_remote=True)
        request = SamplingRequest(span.trace_id, span.name, span.kind, span._attributes, context)
        result = sampler.should_sample(request)
        weight = result.adjusted_count
        if weight is None and context is not None:
            weight = context._weight or known_count(context._trace_state, span.trace_id)
        state = request.trace_state if result.trace_state is None else result.trace_state
        root = above.local_root if above is not None and local else span
        return _Decision(result.decision == SamplingDecision.RECORD_AND_SAMPLE, state, weight, root)

    def _decide_tails(self) -> None:
        """In the order of their ends, as the processors see them: a local root's end decides for its service's part."""
        parts: dict[tuple[str, int], list[RecordedSpan]] = defaultdict(list)
        chances: dict[tuple[str, int], tuple[float, RecordedSpan]] = {}
        for span in sorted(self.spans, key=lambda span: span._end):
            sampler = self._samplers[span.service]
            decision = self.decisions[id(span)]
            if not isinstance(sampler, Tail) or not decision.sampled:
                continue
            part = (span.service, span.trace_id)
            parts[part].append(span)
            if part not in chances and decision.local_root is span:
                self._now = span._end / 1e9
                chances[part] = sampler.policy.probability(TailTrace(parts[part], span)), span
        roots = {part[1]: chance for part, (chance, root) in chances.items() if not root.parent_id}
        for part, spans in parts.items():
            chance, root = chances.get(part, (1.0, spans[0]))
            sampler = self._samplers[part[0]]
            if isinstance(sampler, Tail) and sampler.channel is not None:
                chance = max(chance, roots.get(part[1], 0.0))
            kept = choose(part[1], self.decisions[id(root)].state, chance)
            for span in spans:
                old = self.decisions[id(span)]
                state, weight = reweigh(part[1], old.state, old.weight, chance) if kept else ("", None)
                self.decisions[id(span)] = _Decision(kept, state, weight, old.local_root)


def replay(
    spans: Iterable[RecordedSpan],
    create: Callable[[str, Callable[[], float]], Sampler],
    *,
    slow: float | None = None,
) -> Report:
    """Have the spans sampled as their services would have, on the recording's own clock.

    `create` makes the sampler of a service with a clock. `slow` is in seconds; None is the 95th percentile of the
    recording's traces. A trace's duration is its root's.
    """
    run = _Replay(spans, create)
    run.run()
    traces: dict[int, list[RecordedSpan]] = defaultdict(list)
    for span in run.spans:
        traces[span.trace_id].append(span)
    kept_spans = [span for span in run.spans if run.decisions[id(span)].sampled]
    kept = Counter(span.trace_id for span in kept_spans)
    failed = {span.trace_id for span in run.spans if span._status == SpanStatusCode.ERROR}
    durations = {trace_id: _duration(parts) for trace_id, parts in traces.items()}
    limit = slow if slow is not None else _percentile(sorted(durations.values()))
    late = {trace_id for trace_id, seconds in durations.items() if limit is not None and seconds >= limit}
    return Report(
        spans=len(run.spans),
        spans_kept=len(kept_spans),
        traces=len(traces),
        traces_kept=len(kept),
        traces_partial=sum(0 < kept[trace_id] < len(parts) for trace_id, parts in traces.items()),
        bytes=sum(span.size for span in run.spans),
        bytes_kept=sum(span.size for span in kept_spans),
        errors=Lost(len(failed), len(failed - set(kept))),
        slow=Lost(len(late), len(late - set(kept))),
        slow_seconds=limit,
        rates=_rates(run),
    )


def _duration(spans: Sequence[RecordedSpan]) -> float:
    roots = [span for span in spans if not span.parent_id] or spans
    return max(span._end - span._start for span in roots) / 1e9


def _percentile(durations: Sequence[float]) -> float | None:
    return durations[min(len(durations) - 1, int(len(durations) * _PERCENTILE))] if durations else None


def _rates(run: _Replay) -> list[Estimate]:
    true: Counter[str] = Counter()
    weights: dict[str, list[float]] = defaultdict(list)
    for span in run.spans:
        if span.parent_id:
            continue
        true[span.name] += 1
        decision = run.decisions[id(span)]
        if decision.sampled:
            weights[span.name].append(decision.weight or 1.0)
    return [
        Estimate(
            operation,
            count,
            len(kept),
            sum(kept),
            _TWO_SIDED_95 * math.sqrt(sum(weight * (weight - 1) for weight in kept)) if kept else None,
        )
        for operation, count in true.most_common()
        for kept in (weights[operation],)
    ]
