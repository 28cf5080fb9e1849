"""What retention needs of the embedded store: which traces are due, dropping them, and making files small again.

Dropping and shrinking are two things. Traces are deleted in one transaction for each step, which takes them out of
every answer at once; DuckDB then keeps the room for itself. `compact` copies what is left into a new file, which takes
the old one's place. A day that is due as a whole needs neither: its file goes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from kai_tracing_backend.keeping import NEVER, SLICE, Cut, Discarded, KeepRule, Lot
from kai_tracing_backend.model import Rate
from kai_tracing_backend.sketch import GAMMA
from kai_tracing_backend.storage.contract import StoreError
from kai_tracing_backend.storage.duckdb.compacting import Compactor, file_bytes, leaving_time
from kai_tracing_backend.storage.duckdb.conditions import Conditions
from kai_tracing_backend.storage.duckdb.files import HISTORY, DayFile, transaction
from kai_tracing_backend.storage.duckdb.marks import Marks
from kai_tracing_backend.storage.duckdb.reading import DAY, EPOCH, Reading, first_moment
from kai_tracing_backend.storage.duckdb.segments import SEGMENTS
from kai_tracing_backend.storage.duckdb.statements import statement
from kai_tracing_backend.values import Value, load_attributes

__all__ = ["DuckDBRetention"]

_MINUTE = 60_000_000_000
_STEP = 50_000  # traces of one transaction
_JUDGED = 2 * SEGMENTS  # segments that are looked at together
_ARCHIVED_ROWS = 20_000  # of one batch for the archive

KeepCopy = Callable[[date, pa.RecordBatchReader], None]


class DuckDBRetention:
    """See `contract.Retention`. `writing` is the store's own lock, `drop_day` and `rates` its methods."""

    def __init__(
        self,
        reading: Reading,
        writing: threading.Lock,
        drop_day: Callable[[DayFile], None],
        rates: Callable[[int, int], Sequence[Rate]],
    ) -> None:
        self._reading, self._files = reading, reading.files
        self.marks = Marks(self._files.folder)
        self._writing = writing
        self._drop_day = drop_day
        self._rates = rates
        self._compactor = Compactor(self._files, writing)
        self._working = threading.Lock()  # one at a time; readers and writers go on
        self._surveys: dict[date, tuple[Any, list[Lot]]] = {}

    # -- what there is -----------------------------------------------------------------------------------------------

    def bytes(self) -> int:
        """What the store takes on the disk, less what it can fill again without growing."""
        with self._reporting():
            return self._compactor.live_bytes()

    def survey(self, rules: Sequence[KeepRule], days: Sequence[date] | None = None) -> list[Lot]:
        """What each rule keeps until when; see `contract.Retention.survey`. Unchanged days are remembered."""
        lots: list[Lot] = []
        with self._working, self._reporting():
            known = self._files.days
            self._surveys = {day: found for day, found in self._surveys.items() if day in known}
            for day in sorted(known) if days is None else days:
                if (file := known.get(day)) is None:
                    continue
                state = (tuple(rules), self.marks.version, self._state(day), len(self.marks.holds()))
                remembered = self._surveys.get(day)
                if remembered is None or remembered[0] != state:
                    with self._verdicts(file, rules) as cursor:
                        remembered = self._surveys[day] = (state, self._lots(file, cursor))
                lots += remembered[1]
        return lots

    def _state(self, day: date) -> tuple[Any, ...]:
        """Changes whenever something is written to the day or to those beside it."""
        near = (self._files.days.get(day + timedelta(days=offset)) for offset in (-1, 0, 1))
        return tuple(self._compactor.state(file) for file in near if file is not None)

    def _lots(self, file: DayFile, cursor: duckdb.DuckDBPyConnection) -> list[Lot]:
        rows = cursor.execute(statement("keep_lots"), {"slice": SLICE, "end": _end(file)}).fetchall()
        spans = sum(row[4] for row in rows) or 1
        size = file_bytes(file)
        return [
            Lot(file.day, rule, expires, began, traces, count, size * count // spans, oldest, newest)
            for rule, expires, began, traces, count, oldest, newest in rows
        ]

    # -- what is due -------------------------------------------------------------------------------------------------

    def discard(self, day: date, rules: Sequence[KeepRule], cut: Cut, keep_copy: KeepCopy | None = None) -> Discarded:
        """Drop what is due of a day; see `contract.Retention.discard`."""
        with self._working, self._reporting():
            if (file := self._files.days.get(day)) is None:
                return Discarded()
            with self._verdicts(file, rules) as cursor:
                parameters = {
                    "now": cut.now,
                    "expires": cut.expires,
                    "began": cut.slice,
                    "slice": SLICE,
                    "never": NEVER,
                }
                cursor.execute(statement("keep_due"), parameters)
                ((traces, due, total),) = cursor.execute(statement("keep_count")).fetchall()
                if not due:
                    return Discarded()
                if keep_copy is not None and (kept := [index for index, rule in enumerate(rules) if rule.archive]):
                    self._archive(cursor, file, kept, keep_copy)
                spans = sum(self._delete(cursor, other, shared=True) for other in self._others(file))
                before = file_bytes(file)
                if due == total and self._drop_whole(file, total):
                    return Discarded(traces, spans + due, before)
                return Discarded(traces, spans + self._delete(cursor, file))

    def _drop_whole(self, file: DayFile, spans: int) -> bool:
        """Whether the day is gone: not if spans came in the meantime."""
        with file.changing, self._writing:
            with self._files.cursor(file.name) as cursor:
                ((now,),) = cursor.execute("SELECT count(*) FROM spans").fetchall()
            if now != spans:
                return False
            self._drop_day(file)
        return True

    def _delete(self, cursor: duckdb.DuckDBPyConnection, file: DayFile, *, shared: bool = False) -> int:
        """Delete the due traces from every table of a file that has traces. Returns how many spans that were."""
        tables = [name for (name,) in cursor.execute(statement("keep_tables"), {"file": file.name}).fetchall()]
        deleted = last = 0
        while True:
            cursor.execute(statement("keep_step"), {"after": last, "step": _STEP, "shared": shared})
            ((count, last, *window),) = cursor.execute(statement("keep_stepped")).fetchall()
            if not count:
                return deleted
            cursor.execute(f'USE "{file.name}"')
            # Where in another file the spans of a trace are is not known.
            first, until = (0, NEVER) if shared else window
            with leaving_time(), file.changing, transaction(cursor):
                found = cursor.execute(statement("keep_delete_spans"), {"first": first, "last": until}).fetchall()
                deleted += found[0][0]
                for table in tables:
                    found = cursor.execute(statement("keep_delete", table=f'"{table}"')).fetchall()
                    deleted += found[0][0] if table == "spans_recent" else 0

    def _archive(self, cursor: duckdb.DuckDBPyConnection, file: DayFile, rules: list[int], keep_copy: KeepCopy) -> None:
        for one in (file, *self._others(file)):
            cursor.execute(f'USE "{one.name}"')
            parameters = {"rules": rules, "shared": one is not file}
            found = cursor.sql(statement("keep_archived"), params=parameters)
            keep_copy(one.day, found.to_arrow_reader(_ARCHIVED_ROWS))

    def compact(self, day: date, least: float) -> int | None:
        """Give freed room back; see `contract.Retention.compact`."""
        with self._working, self._reporting():
            file = self._files.days.get(day)
            return None if file is None else self._compactor.compact(file, least)

    def expire_rollups(self, before: int) -> int:
        """Forget old rates and dependencies; see `contract.Retention.expire_rollups`."""
        deleted = 0
        with self._working, self._reporting(), self._files.cursor(HISTORY) as cursor:
            for (table,) in cursor.execute(statement("keep_rollups")).fetchall():
                with transaction(cursor):
                    text = statement("keep_forget", table=f'"{table}"')
                    ((gone,),) = cursor.execute(text, {"minute": before // _MINUTE}).fetchall()
                deleted += gone
        return deleted

    # -- verdicts ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _verdicts(self, file: DayFile, rules: Sequence[KeepRule]) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with the table `verdicts`: each trace of the day, its rule and when it may go."""
        end = _end(file)
        with self._files.cursor(file.name) as cursor:
            cursor.register("limits", _limits(rules, self._rates(end - DAY, end)))
            cursor.execute(statement("keep_facts_table"))
            self._judge(cursor, file, rules, shared=False)
            for other in self._others(file):
                cursor.execute(f'USE "{other.name}"')
                cursor.execute(statement("keep_shared"))
                ((shared,),) = cursor.execute("SELECT count(*) FROM shared").fetchall()
                if shared:
                    self._judge(cursor, other, rules, shared=True)
            cursor.execute(f'USE "{file.name}"')
            cursor.register("pinned", _pinned([pin.trace_id for pin in self.marks.pins()]))
            cursor.execute(
                statement("keep_verdicts"),
                {
                    "keeps": [rule.keep for rule in rules],
                    "held": [(hold.day - EPOCH).days * DAY + DAY for hold in self.marks.holds()],
                    "end": end,
                    "day": DAY,
                    "never": NEVER,
                },
            )
            yield cursor

    def _judge(
        self, cursor: duckdb.DuckDBPyConnection, file: DayFile, rules: Sequence[KeepRule], *, shared: bool
    ) -> None:
        """Add to `facts` which rules the spans of a file pass, in steps: commits do not wait for all of them."""
        conditions = Conditions(rules, _resources(cursor))
        only = statement("keep_only_shared") if shared else ""
        text = statement("keep_facts", bits=conditions.bits, shared=only)
        with transaction(cursor):  # so that no span moves meanwhile
            ((last,),) = cursor.execute("SELECT coalesce(max(segment), -1) FROM spans").fetchall()
            for first in range(0, last + 1, _JUDGED):
                window = {"first": first, "last": first + _JUDGED - 1}
                with leaving_time():
                    cursor.execute(text, {**conditions.parameters, **window, "end": _end(file)})

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Errors as the contract has them."""
        with self._reading.reporting():
            try:
                yield
            except OSError as error:
                raise StoreError(str(error)) from error

    def _others(self, file: DayFile) -> list[DayFile]:
        return [other for day, other in sorted(self._files.days.items()) if day != file.day]


def _end(file: DayFile) -> int:
    return first_moment(file) + DAY


def _resources(cursor: duckdb.DuckDBPyConnection) -> Mapping[int, Mapping[str, Value]]:
    rows = cursor.execute("SELECT id, text FROM resources").fetchall()
    return {number: load_attributes(json.loads(text)[0]) for number, text in rows}


def _pinned(trace_ids: Sequence[str]) -> pa.Table:
    numbers = [int(trace_id, 16) for trace_id in trace_ids]
    return pa.table(
        {
            "trace_high": pa.array([number >> 64 for number in numbers], pa.uint64()),
            "trace_low": pa.array([number & (1 << 64) - 1 for number in numbers], pa.uint64()),
        }
    )


def _limits(rules: Sequence[KeepRule], rates: Sequence[Rate]) -> pa.Table:
    """What a call must take longer than to be among the slowest of its operation: a column for each share asked for.

    By the day's rates, so that it does not change when other traces of the day have gone.
    """
    shares = sorted({rule.slowest for rule in rules if rule.slowest is not None})
    merged: dict[tuple[str, str, int], list[Rate]] = {}
    for rate in rates if shares else ():
        merged.setdefault((rate.service, rate.name, rate.kind), []).append(rate)
    columns: dict[str, Any] = {
        "service": pa.array([key[0] for key in merged], pa.string()),
        "name": pa.array([key[1] for key in merged], pa.string()),
        "kind": pa.array([key[2] for key in merged], pa.uint8()),
    }
    for index, share in enumerate(shares):
        limits = [slower_than(parts, share) for parts in merged.values()]
        columns[f"limit{index}"] = pa.array(limits, pa.int64())
    return pa.table(columns)


def slower_than(rates: Sequence[Rate], share: float) -> int:
    """The duration that at most a share of the calls exceed, but at least one where no two are equally slow."""
    sketch: dict[int, float] = {}
    for rate in rates:
        for bucket, weight in rate.sketch.items():
            sketch[bucket] = sketch.get(bucket, 0.0) + weight
    total = sum(sketch.values())
    allowed = max(share * total, total / max(1, sum(rate.spans for rate in rates))) * (1 + 1e-9)
    limit, taken = NEVER, 0.0
    for bucket in sorted(sketch, reverse=True):
        taken += sketch[bucket]
        if taken > allowed:
            break
        limit = int(GAMMA ** (bucket - 1)) if bucket >= 0 else -1
    return limit
