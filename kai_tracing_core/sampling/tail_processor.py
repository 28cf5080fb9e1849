"""What holds a trace's spans back until its verdict, in bounded memory and time."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping

from kai_tracing_core.processing import lifecycle
from kai_tracing_core.processing.processor import SpanProcessor, Stats
from kai_tracing_core.sampling.decisions import DecisionChannel, Verdict
from kai_tracing_core.sampling.tail import TailOptions
from kai_tracing_core.sampling.tail_policies import TailPolicy, TailTrace
from kai_tracing_core.sampling.threshold import NEVER, adjusted_count, randomness, read, with_threshold
from kai_tracing_core.span import Span
from kai_tracing_core.trace_context import DEBUG, PARENT_REMOTE, SAMPLED, Shared

__all__ = ["TailProcessor", "choose", "reweigh"]

logger = logging.getLogger(__name__)

_WORD = (1 << 64) - 1


def _mixed(trace_id: int) -> int:
    """56 bits that are spread evenly whatever the ids have in common (SplitMix64's finaliser)."""
    bits = (trace_id ^ trace_id >> 64) & _WORD
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _WORD
    return (bits ^ bits >> 31) >> 8


def _raised(th: int, chance: float) -> int:
    """The threshold of a share `chance` of what passed `th`."""
    return NEVER - max(1, round((NEVER - th) * chance))


def choose(trace_id: int, trace_state: str, chance: float) -> bool:
    """Whether a trace that is to be kept with this probability is: the same in every service.

    Where `th` says how the trace was chosen before, it is raised. Where that is not known, the trace id's own bits
    may have been used up for it, and a mix of them decides.
    """
    if chance >= 1.0 or chance <= 0.0:
        return chance >= 1.0
    th, rv = read(trace_state)
    value = randomness(trace_id, rv)
    if th is not None and value >= th:
        return value >= _raised(th, chance)
    return _mixed(trace_id) >= round((1.0 - chance) * NEVER)


def reweigh(trace_id: int, trace_state: str, weight: float | None, chance: float) -> tuple[str, float | None]:
    """The `tracestate` and the adjusted count of a span that was kept with this probability after all before."""
    if chance >= 1.0:
        return trace_state, weight
    th, rv = read(trace_state)
    if th is not None and randomness(trace_id, rv) >= th:
        rejection = _raised(th, chance)
        return with_threshold(trace_state, rejection), adjusted_count(rejection)
    return with_threshold(trace_state, None), (weight or 1.0) / chance


class _Part:
    """This process's part of a trace without a verdict."""

    __slots__ = ("chance", "deadline", "root", "spans")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.spans: list[Span] = []
        self.root: Span | None = None
        self.chance: float | None = None  # by our own policy, while the root's verdict is waited for


class TailProcessor(SpanProcessor):
    """Buffers spans by trace, and passes on those of the traces that are kept.

    The verdict falls when a local root (a span without a parent in this process) ends, and holds for whatever else
    ends of that trace later. A span that is kept by a probability has its adjusted count, and `th`, changed to match.
    """

    trusted = True

    def __init__(
        self,
        sink: SpanProcessor,
        policy: TailPolicy,
        options: TailOptions | None = None,
        channel: DecisionChannel | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options or TailOptions()
        self._sink = sink
        self._policy = policy
        self._channel = channel
        self._clock = clock
        self._closed = False
        self._complained = False
        self._decisions: OrderedDict[int, float] = OrderedDict()  # the probability it was kept with, 0 if dropped
        self._reset()
        lifecycle.register(self, before_others=True)

    def _reset(self) -> None:
        # Reentrant: the garbage collector may end spans while it is held.
        self._lock = threading.RLock()
        self._parts: OrderedDict[int, _Part] = OrderedDict()
        self._waiting: OrderedDict[int, _Part] = OrderedDict()
        self._outbox: dict[int, Verdict] = {}
        self._held = 0
        self._dropped: Counter[str] = Counter()
        self.channel_errors = 0
        self._worker: threading.Thread | None = None
        self._awake = False
        # A lock as a bell: unlike Event.set, releasing it is safe in a signal handler.
        self._bell = threading.Lock()
        self._bell.acquire()

    def after_fork(self) -> None:
        """In a forked child: nothing held back (the parent decides on that); the verdicts stay."""
        self._reset()

    # -- on the application's threads --------------------------------------------------------------------------------

    def on_end(self, span: Span) -> None:
        """Hold the span back, or do with it what its trace's verdict says."""
        if self._closed or not span._flags & SAMPLED:
            self._sink.on_end(span)
            return
        span._mend()
        with self._lock:
            chance = self._decisions.get(span._trace_id)
            released = self._hold(span) if chance is None else self._sort([span], chance)
        for kept in released:
            self._sink.on_end(kept)

    def _hold(self, span: Span) -> list[Span]:
        trace_id = span._trace_id
        part = self._parts.get(trace_id)
        if part is None:
            part = self._parts[trace_id] = _Part(self._clock() + self.options.max_wait)
            if not self._awake:
                self._wake()
        part.spans.append(span)
        self._held += 1
        if not span._parent_id or span._flags & PARENT_REMOTE:
            if part.root is None or not span._parent_id:
                part.root = span
            return self._judge(trace_id, part)
        if self._held > self.options.max_spans:
            oldest = next(iter(self._parts))
            return self._settle(oldest, self._parts[oldest])
        return []

    def _judge(self, trace_id: int, part: _Part) -> list[Span]:
        """The verdict, now that a local root has ended; none yet where that of the trace's root is to be followed."""
        chance = self._chance(part)
        if self._channel is not None and part.root is not None:
            if not part.root._parent_id:
                verdict = Verdict(choose(trace_id, part.root._trace_state, chance), chance)
                self._outbox[trace_id] = verdict
                self._ring()
            elif chance < 1.0:
                part.chance = chance
                if trace_id not in self._waiting:
                    part.deadline = self._clock() + self.options.decision_wait
                    self._waiting[trace_id] = part
                    self._ring()
                return []
        return self._finish(trace_id, part, chance)

    def _chance(self, part: _Part) -> float:
        if any(span._flags & DEBUG for span in part.spans):
            return 1.0
        try:
            return min(1.0, max(0.0, self._policy.probability(TailTrace(part.spans, part.root))))
        except Exception:
            if not self._complained:
                self._complained = True
                logger.exception("the policy %r raises; what it raises on is kept", self._policy)
            return 1.0

    def _settle(self, trace_id: int, part: _Part) -> list[Span]:
        """The verdict by what there is, since nothing more is waited for."""
        return self._finish(trace_id, part, self._chance(part) if part.chance is None else part.chance)

    def _finish(self, trace_id: int, part: _Part, chance: float) -> list[Span]:
        del self._parts[trace_id]
        self._waiting.pop(trace_id, None)
        self._held -= len(part.spans)
        if not choose(trace_id, (part.root or part.spans[0])._trace_state, chance):
            chance = 0.0
        self._decisions[trace_id] = chance
        if len(self._decisions) > self.options.max_decisions:
            self._decisions.popitem(last=False)
        return self._sort(part.spans, chance)

    def _sort(self, spans: list[Span], chance: float) -> list[Span]:
        if not chance:
            self._dropped["tail_sampled"] += len(spans)
            return []
        if chance < 1.0:
            for span in spans:
                shared = span._shared
                state, weight = reweigh(span._trace_id, shared.trace_state, shared.weight, chance)
                span._shared = Shared(shared.flags, state, weight, sink=shared.sink)
        return spans

    # -- on a thread of its own --------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._awake = True
        if self._worker is None:
            worker = threading.Thread(target=self._run, args=(self._bell,), name="kai-tracing-tail", daemon=True)
            try:
                worker.start()
            except RuntimeError as error:  # pragma: no cover - no thread can be started while the interpreter ends
                logger.debug("no thread: %s; what waits is decided at exit", error)
                return
            self._worker = worker
        self._ring()

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it is ringing already

    def _run(self, bell: threading.Lock) -> None:
        while not self._closed:
            if not self._parts and not self._outbox:
                self._awake = False
                # A span may have ended between the look and the line above, without ringing.
                if not self._parts and not self._outbox:
                    bell.acquire()
                self._awake = True
            elif not self._outbox:
                bell.acquire(timeout=self.options.poll_interval if self._waiting else self.options.max_wait / 4)
            if not self._closed:
                self._exchange()
                self._release(self._overdue)
                if self._outbox:  # the channel does not work: not again at once
                    bell.acquire(timeout=self.options.poll_interval)

    def _exchange(self) -> None:
        """Publish our verdicts and follow those of the others."""
        channel = self._channel
        if channel is None:
            return
        try:
            with self._lock:
                outgoing = dict(self._outbox)
            if outgoing:
                channel.publish(outgoing)
                with self._lock:
                    for trace_id in outgoing:
                        self._outbox.pop(trace_id, None)
            with self._lock:
                wanted = list(self._waiting)
            if wanted:
                verdicts = channel.poll(wanted)
                self._release(lambda: self._follow(verdicts))
        except Exception as error:
            self.channel_errors += 1
            if self.channel_errors == 1:
                logger.warning("the decision channel fails, our own policy decides meanwhile: %s", error)
            with self._lock:
                while len(self._outbox) > self.options.max_decisions:
                    self._outbox.pop(next(iter(self._outbox)))

    def _follow(self, verdicts: Mapping[int, Verdict]) -> list[Span]:
        released: list[Span] = []
        for trace_id, part in list(self._waiting.items()):
            verdict = verdicts.get(trace_id)
            if verdict is not None:
                # Both chose by the same randomness, so together they choose by the higher probability.
                released += self._finish(trace_id, part, max(part.chance or 0.0, verdict.probability))
        return released

    def _overdue(self) -> list[Span]:
        now = self._clock()
        released: list[Span] = []
        for parts in (self._waiting, self._parts):
            for trace_id, part in list(parts.items()):
                if part.deadline > now:
                    break
                released += self._settle(trace_id, part)
        return released

    def _everything(self) -> list[Span]:
        return [span for trace_id, part in list(self._parts.items()) for span in self._settle(trace_id, part)]

    def _release(self, decide: Callable[[], list[Span]]) -> None:
        with self._lock:
            released = decide()
        for span in released:
            self._sink.on_end(span)

    # -- delivery ----------------------------------------------------------------------------------------------------

    def flush(self, timeout: float) -> bool:
        """Decide on all that is held back, by what there is, and have it delivered."""
        deadline = self._clock() + timeout
        self._exchange()
        self._release(self._everything)
        return self._sink.flush(max(0.0, deadline - self._clock()))

    def shutdown(self, timeout: float) -> bool:
        """Decide on all that is held back, tell the others, and shut the queue down."""
        if self._closed:
            return True
        deadline = self._clock() + timeout
        self._exchange()
        self._closed = True
        self._ring()
        self._release(self._everything)
        return self._sink.shutdown(max(0.0, deadline - self._clock()))

    def stats(self) -> Stats:
        """Where the spans are: those held back count as queued, and what the policy left out as `tail_sampled`."""
        inner = self._sink.stats()
        with self._lock:
            held, dropped = self._held, dict(self._dropped)
        return inner._replace(
            ended=inner.ended + held + sum(dropped.values()),
            queued=inner.queued + held,
            dropped={**inner.dropped, **dropped},
        )
