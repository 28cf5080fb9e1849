"""Tail sampling of what arrives: a trace waits in a journal until it is decided whether it is kept."""

from __future__ import annotations

import hashlib
import itertools
import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from kai_tracing_backend.metrics import TailMeter
from kai_tracing_backend.sampling.journal import Journal, Segment
from kai_tracing_backend.sampling.judged import Chunk, JudgedSpan, JudgedTrace
from kai_tracing_backend.storage.contract import StoreError
from kai_tracing_backend.storage.queue import QueueFullError, Stage, WriteQueue
from kai_tracing_backend.troubles import Trouble
from kai_tracing_core.sampling.tail_policies import TailPolicy
from kai_tracing_core.sampling.threshold import with_threshold

__all__ = ["TailOptions", "TailSampling", "keeps"]

logger = logging.getLogger(__name__)

_OVERHEAD = 200  # bytes of bookkeeping for a span that waits
_RETRY = 1.0  # seconds before a write that failed is tried again
_GRACE = 10.0  # seconds that a full queue has at the end
_TICK = 0.1
_MAX_SUBMITTED = 50_000  # spans at once
_KEY = b"kai-tracing-backend: tail sampling"  # so that the draw depends on no other sampler's


@dataclass(frozen=True, slots=True)
class TailOptions:
    """How long a trace waits, and how much may. Times in seconds.

    A trace is decided `root_wait` after its root arrived, which is how long exporters hold back the spans of other
    services, and at the latest `max_wait` after its first span did. Spans that wait take at most about `max_bytes`:
    past half of that the oldest traces are decided by what is known of them, past all of it senders are refused. The
    last `max_decisions` verdicts are remembered for late spans.
    """

    root_wait: float = 5.0
    max_wait: float = 30.0
    max_bytes: int = 256 << 20
    max_decisions: int = 100_000


def keeps(trace_id: int, chance: float) -> bool:
    """Whether a trace is kept that is to be kept with this probability: by a draw that depends on its id alone."""
    digest = hashlib.blake2b(trace_id.to_bytes(16, "big"), digest_size=7, key=_KEY).digest()
    return int.from_bytes(digest, "big") >= round((1.0 - chance) * (1 << 56))


class _Waiting:
    """Spans that arrived together and still wait: for their verdict, or to be stored."""

    __slots__ = ("chunk", "open", "segment", "span_bytes")

    def __init__(self, chunk: Chunk, segment: Segment) -> None:
        self.chunk = chunk
        self.segment = segment
        self.open = len(chunk)
        self.span_bytes = chunk.bytes // len(chunk) + _OVERHEAD


class _Trace:
    """A trace without a verdict."""

    __slots__ = ("chance", "deadline", "root", "rows")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.rows: list[tuple[_Waiting, int]] = []
        self.root: tuple[_Waiting, int] | None = None
        self.chance: float | None = None


_Kept = tuple[_Waiting, int, float]
"""A span that is to be stored, and the probability with which it was kept."""


class TailSampling:
    """A stage that keeps of the traces what `policy` says.

    What is submitted is written to the journal before it is acknowledged, so that a killed process loses nothing: the
    next one finds the spans and the verdicts that were reached. A verdict is in the journal before anything of its
    trace is stored, and holds for all of the trace. What is kept by probability p stands for 1 / p times as many
    spans; which traces are kept is drawn by their id, independently of what samplers before it drew, so that every
    count stays unbiased whatever the policy looks at.
    """

    def __init__(
        self,
        policy: TailPolicy,
        journal: Journal,
        sink: Stage,
        options: TailOptions | None = None,
        *,
        meter: TailMeter | None = None,
        queue_bytes: int = 64 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes up what an earlier process left in the journal."""
        self.options = options or TailOptions()
        self._policy = policy
        self._journal = journal
        self._sink = sink
        self._meter = meter
        self._clock = clock
        self._lock = threading.Lock()
        self._traces: OrderedDict[int, _Trace] = OrderedDict()  # by the arrival of their first span
        self._rooted: OrderedDict[int, float] = OrderedDict()  # when those are due whose root is there
        self._decisions: OrderedDict[int, float] = OrderedDict()  # the probability of what is kept, 0 for the others
        self._kept: deque[_Kept] = deque()
        self._sent: deque[tuple[Future[int], list[_Kept]]] = deque()
        self._undecided = 0
        self._held = 0
        self._retry_at = 0.0
        self._undecidable, self._unwritable = Trouble(logger), Trouble(logger)
        self._complained = False
        self._closed = False
        self._bell = threading.Event()
        self._recover()
        self._queue = WriteQueue(self, queue_bytes)
        self._worker = threading.Thread(target=self._run, name="kai-tracing-tail", daemon=True)
        self._worker.start()

    # -- what receivers call -----------------------------------------------------------------------------------------

    def submit(self, batch: pa.Table) -> Future[int]:
        """Take a batch; the future is done when it is in the journal. See `Stage.submit`."""
        return self._queue.submit(batch)

    @property
    def full(self) -> bool:
        """Whether an ordinary batch would be refused."""
        return self._queue.full or self._held >= self.options.max_bytes * 0.95

    @property
    def held(self) -> tuple[int, int]:
        """How many traces wait for a verdict, and the bytes of all that is held."""
        return len(self._traces), self._held

    def close(self) -> None:
        """Store what is to be kept. What has no verdict stays in the journal for the next process.

        Raises:
            StoreError: so does something that is to be kept, since it cannot be written. All is closed nevertheless.
        """
        self._queue.close()
        self._closed = True
        self._bell.set()
        self._worker.join()
        problem = self._deliver_rest()
        self._journal.close()
        left, self._kept = len(self._kept), deque()
        if left:
            raise StoreError(
                f"{left} spans that tail sampling keeps could not be stored: {problem}. They are in "
                f"{self._journal.folder}, and are stored when the backend is started again."
            )

    def _deliver_rest(self) -> BaseException | None:
        """Submit all that is kept, and wait for it. Returns why some of it is still there."""
        give_up = self._clock() + _GRACE
        while self._kept or self._sent:
            if self._deliver(force=True):
                future, kept = self._sent[0]
                if (problem := future.exception()) is not None:  # waits for it
                    self._sent.popleft()
                    self._kept.extendleft(reversed(kept))
                    return problem
            elif self._kept and self._clock() > give_up:
                return QueueFullError("too many spans wait to be written")
            else:
                time.sleep(_TICK)
        return None

    def finish(self) -> None:
        """Decide on everything by what there is, store what is kept, and close."""
        with self._lock:
            self._decide(list(self._traces))
        self.close()

    # -- on the queue's thread ---------------------------------------------------------------------------------------

    def write(self, batch: pa.Table) -> int:
        """Write a batch to the journal and have its spans wait, or follow the verdict; `SpanWriter.write`."""
        with self._lock:
            if self._held and self._held + batch.nbytes > self.options.max_bytes:
                raise QueueFullError("too many spans wait for tail sampling")
            chunk, known = Chunk(batch), self._decisions
            ids = chunk.trace_ids()
            late = {trace_id: known[trace_id] for trace_id in ids if trace_id in known}
            if 0.0 in late.values():
                stay = pa.array([late.get(trace_id) != 0.0 for trace_id in ids], pa.bool_())
                chunk = Chunk(batch.filter(stay))
                self._count(dropped_spans=len(ids) - len(chunk))
                ids = chunk.trace_ids() if len(chunk) else []
            if ids:
                segment = self._journal.append(chunk.table, {id_: chance for id_, chance in late.items() if chance})
                self._hold(_Waiting(chunk, segment), ids)
        self._bell.set()
        return int(batch.num_rows)

    def _hold(self, waiting: _Waiting, ids: Iterable[int]) -> None:
        now = self._clock()
        self._held += waiting.span_bytes * waiting.open
        parents = waiting.chunk.numbers("parent_id")
        left_out = 0
        for row, trace_id in enumerate(ids):
            chance = self._decisions.get(trace_id)
            if chance is not None:
                if chance:
                    self._kept.append((waiting, row, chance))
                else:
                    left_out += 1
                continue
            trace = self._traces.get(trace_id)
            if trace is None:
                trace = self._traces[trace_id] = _Trace(now + self.options.max_wait)
            trace.rows.append((waiting, row))
            self._undecided += waiting.span_bytes
            if not parents[row] and trace.root is None:
                trace.root = waiting, row
                self._rooted[trace_id] = now + self.options.root_wait
        if left_out:
            self._count(dropped_spans=left_out)
            self._resolve(waiting, left_out)

    def _recover(self) -> None:
        """Take up what an earlier process left; every wait begins anew."""
        for trace_id, chance in self._journal.verdicts().items():
            self._remember(trace_id, chance)
        spans = 0
        for segment, table in self._journal.spans():
            chunk = Chunk(table)
            spans += len(chunk)
            self._hold(_Waiting(chunk, segment), chunk.trace_ids())
        if spans:
            logger.info("tail sampling goes on with %d spans of the journal", spans)

    # -- on a thread of its own --------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            self._bell.wait(_TICK if self._kept or self._sent else self._pause())
            self._bell.clear()
            try:
                with self._lock:
                    self._decide(self._due())
                self._deliver()
            except StoreError as error:
                self._undecidable.happened(f"tail sampling cannot decide: {error}")
                time.sleep(_RETRY)
            except Exception:
                self._undecidable.happened("tail sampling failed, it tries again", traceback=True)
                time.sleep(_RETRY)
            else:
                self._undecidable.over("tail sampling decides again")

    def _pause(self) -> float | None:
        """Until the next trace is due; None while there is none."""
        with self._lock:
            due = [trace.deadline for trace in itertools.islice(self._traces.values(), 1)]
            due += itertools.islice(self._rooted.values(), 1)
            return max(_TICK, min(due) - self._clock()) if due else None

    def _due(self) -> list[int]:
        now = self._clock()
        due: dict[int, None] = {}
        for trace_id, moment in self._rooted.items():
            if moment > now:
                break
            due[trace_id] = None
        excess = self._undecided - self.options.max_bytes / 2
        for trace_id, trace in self._traces.items():
            if trace.deadline > now and excess <= 0:
                break
            due[trace_id] = None
            excess -= sum(waiting.span_bytes for waiting, _ in trace.rows)
        return list(due)

    def _decide(self, due: list[int]) -> None:
        if not due:
            return
        verdicts = {}
        for trace_id in due:
            trace = self._traces[trace_id]
            if trace.chance is None:
                trace.chance = self._chance(trace)
            verdicts[trace_id] = trace.chance if keeps(trace_id, trace.chance) else 0.0
        self._journal.append(None, verdicts)
        for trace_id, chance in verdicts.items():
            trace = self._traces.pop(trace_id)
            self._rooted.pop(trace_id, None)
            self._remember(trace_id, chance)
            self._undecided -= sum(waiting.span_bytes for waiting, _ in trace.rows)
            if chance:
                self._kept.extend((waiting, row, chance) for waiting, row in trace.rows)
                self._count(kept=1)
            else:
                for waiting, _ in trace.rows:
                    self._resolve(waiting, 1)
                self._count(dropped=1, dropped_spans=len(trace.rows))

    def _chance(self, trace: _Trace) -> float:
        spans = [JudgedSpan(waiting.chunk, row) for waiting, row in trace.rows]
        root = JudgedSpan(trace.root[0].chunk, trace.root[1]) if trace.root is not None else None
        try:
            return min(1.0, max(0.0, self._policy.probability(JudgedTrace(spans, root))))
        except Exception:
            if not self._complained:
                self._complained = True
                logger.exception("a policy of tail sampling raises; what it raises on is kept")
            return 1.0

    def _remember(self, trace_id: int, chance: float) -> None:
        self._decisions[trace_id] = chance
        if len(self._decisions) > self.options.max_decisions:
            self._decisions.popitem(last=False)

    def _deliver(self, *, force: bool = False) -> bool:
        """Submit what is kept and let go of what is stored. Returns whether something is on its way."""
        with self._lock:
            while self._sent and self._sent[0][0].done():
                self._settle(*self._sent.popleft())
        while self._kept and not self._sent and (force or self._clock() >= self._retry_at):
            kept = [self._kept.popleft() for _ in range(min(len(self._kept), _MAX_SUBMITTED))]
            try:
                self._sent.append((self._sink.submit(_table(kept)), kept))
            except QueueFullError:
                self._kept.extendleft(reversed(kept))
                self._retry_at = self._clock() + _RETRY
                return False
        return bool(self._sent)

    def _settle(self, future: Future[int], kept: list[_Kept]) -> None:
        error = future.exception()
        if error is not None:
            self._unwritable.happened(f"kept spans cannot be written, they stay in the journal: {error}")
            self._retry_at = self._clock() + _RETRY
            self._kept.extendleft(reversed(kept))
            return
        self._unwritable.over("kept spans are written again")
        for waiting, spans in Counter(waiting for waiting, _, _ in kept).items():
            self._resolve(waiting, spans)

    def _resolve(self, waiting: _Waiting, spans: int) -> None:
        waiting.open -= spans
        self._held -= spans * waiting.span_bytes
        self._journal.release(waiting.segment, spans)

    def _count(self, *, kept: int = 0, dropped: int = 0, dropped_spans: int = 0) -> None:
        if self._meter is not None:
            self._meter(kept, dropped, dropped_spans)


def _table(kept: list[_Kept]) -> pa.Table:
    """The spans as they are stored: each stands for as many more as its probability says."""
    by_chunk: dict[Chunk, tuple[list[int], list[float]]] = {}
    for waiting, row, chance in kept:
        rows, chances = by_chunk.setdefault(waiting.chunk, ([], []))
        rows.append(row)
        chances.append(chance)
    parts = [_reweighed(chunk.table.take(pa.array(rows)), chances) for chunk, (rows, chances) in by_chunk.items()]
    return pa.concat_tables(parts)


def _reweighed(table: pa.Table, chances: list[float]) -> pa.Table:
    """The table with adjusted counts divided by these; where one is below 1, `th` does not hold any more."""
    if min(chances) >= 1.0:
        return table
    counts = pc.divide(table["adjusted_count"], pa.array(chances, pa.float64()))
    states = [
        state if chance >= 1.0 else with_threshold(state, None)
        for state, chance in zip(table["trace_state"].to_pylist(), chances, strict=True)
    ]
    for name, column in (("adjusted_count", counts), ("trace_state", pa.array(states, pa.string()))):
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table
