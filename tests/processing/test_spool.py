"""The disk spool: batches outlive an absent backend and the process, in order, bounded and checked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kai_tracing_core.processing.batch import BatchOptions, BatchProcessor
from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import PayloadExporter, Rejected, Retryable, SpoolStats, TooLarge
from kai_tracing_core.processing.retry import RetryPolicy
from kai_tracing_core.processing.spool import Spool
from kai_tracing_core.processing.spooling import SpoolingExporter
from kai_tracing_core.span import Span

_QUICK = RetryPolicy(initial=0.01, maximum=0.02)


class _Backend(PayloadExporter):
    """Takes payloads of span names while it is up; `answers` may hold other behaviour for the next calls."""

    def __init__(self) -> None:
        self.up = True
        self.names: list[str] = []
        self.answers: list[Exception] = []
        self.got = threading.Event()

    def encode(self, spans: Sequence[Span]) -> bytes:
        return "\n".join(span.name for span in spans).encode()

    def send(self, payload: bytes, timeout: float) -> int:
        if self.answers:
            raise self.answers.pop(0)
        if not self.up:
            raise Retryable("down")
        self.names += payload.decode().split("\n")
        self.got.set()
        return 0


@pytest.fixture
def backend() -> _Backend:
    """A backend that is up."""
    return _Backend()


def _spans(*names: str) -> list[Span]:
    pipeline = SpanPipeline(PipelineConfig(), _Discard())
    spans = [pipeline.start(name) for name in names]
    for span in spans:
        span.end()
    return spans


class _Discard(BatchProcessor):
    def __init__(self) -> None:
        super().__init__(_Backend(), BatchOptions(max_queue=0))


def _spool(path: Path, max_bytes: int = 1 << 20) -> Spool:
    return Spool(path, max_bytes=max_bytes, kind="test")


@pytest.fixture
def queue(backend: _Backend, tmp_path: Path) -> Iterator[BatchProcessor]:
    """A queue that sends to the backend through a spool, two spans at a time."""
    processor = BatchProcessor(
        SpoolingExporter(backend, _spool(tmp_path), _QUICK), BatchOptions(delay=0.01, max_batch=2)
    )
    yield processor
    processor.shutdown(5)


def test_waits_on_disk_and_is_replayed_in_order(backend: _Backend, queue: BatchProcessor) -> None:
    """Batches that end while the backend is away arrive, once each and in order, when it is back."""
    backend.up = False
    names = [f"s{number}" for number in range(9)]
    for span in _spans(*names):
        queue.on_end(span)
    assert queue.flush(10)
    assert backend.names == []
    stats = queue.stats()
    assert (stats.spooled, stats.queued, stats.dropped) == (9, 0, {})
    assert stats.spool is not None
    assert stats.spool.pending == 9
    backend.up = True
    for span in _spans("last"):
        queue.on_end(span)
    assert queue.flush(10)
    assert backend.got.wait(10)
    for _ in range(500):
        if len(backend.names) == 10:
            break
        threading.Event().wait(0.01)
    assert backend.names == [*names, "last"]
    stats = queue.stats()
    assert stats.spool is not None
    assert stats.spool.pending == 0
    assert stats.ended == 10
    assert stats.exported + stats.spool.replayed == 10


def test_next_process_replays_without_a_span_of_its_own(backend: _Backend, tmp_path: Path) -> None:
    """What an earlier process left on disk is sent as soon as the next one starts."""
    _spool(tmp_path).put(b"left", 1)
    processor = BatchProcessor(SpoolingExporter(backend, _spool(tmp_path), _QUICK))
    processor.resume()
    assert backend.got.wait(10)
    assert processor.shutdown(5)
    assert backend.names == ["left"]
    assert list(tmp_path.iterdir()) == []


def test_torn_file_is_counted_and_skipped(backend: _Backend, tmp_path: Path) -> None:
    """A truncated, a scribbled-over and an empty file cost their own spans only."""
    spool = _spool(tmp_path)
    for name in ("one", "two", "three", "four"):
        spool.put(name.encode(), 1)
    first, second, third, _ = sorted(tmp_path.iterdir())
    first.write_bytes(first.read_bytes()[:-1])
    second.write_bytes(second.read_bytes()[:-1] + b"X")
    third.write_bytes(b"")
    exporter = SpoolingExporter(backend, spool, _QUICK)
    exporter.catch_up(5)
    assert backend.names == ["four"]
    assert exporter.spool_stats().dropped == {"spool_torn": 3}


def test_oldest_go_first_at_the_cap(tmp_path: Path) -> None:
    """A full spool drops its oldest batches, and a batch larger than the spool itself, and counts them."""
    spool = _spool(tmp_path, max_bytes=450)
    for number in range(5):
        spool.put(b"%d" % number * 100, 10)
    with spool.oldest() as oldest:
        assert oldest is not None
        assert oldest.payload == b"2" * 100
    assert spool.dropped == {"spool_full": 20}
    spool.put(b"x" * 1000, 7)
    assert spool.dropped == {"spool_full": 27}
    assert spool.pending() == 30


def test_locked_by_another_process(tmp_path: Path) -> None:
    """A batch that another process is sending is passed over, so that it is not sent twice."""
    _spool(tmp_path).put(b"mine", 1)
    _spool(tmp_path).put(b"free", 1)
    with _spool(tmp_path).oldest() as first, _spool(tmp_path).oldest() as second:
        assert first is not None
        assert second is not None
        assert (first.payload, second.payload) == (b"mine", b"free")


def test_rejected_replay_is_counted(backend: _Backend, tmp_path: Path) -> None:
    """A batch on disk that the backend will never take is dropped with its reason, and the next one is sent."""
    spool = _spool(tmp_path)
    spool.put(b"bad", 3)
    spool.put(b"good", 1)
    backend.answers = [Rejected("no", reason="http_400")]
    exporter = SpoolingExporter(backend, spool, _QUICK)
    exporter.catch_up(5)
    assert backend.names == ["good"]
    assert exporter.spool_stats().dropped == {"http_400": 3}


def test_disk_failure_falls_back_to_memory(backend: _Backend, tmp_path: Path) -> None:
    """Where the spool cannot be written the batch is retried from memory, as without a spool."""
    directory = tmp_path / "spool"
    exporter = SpoolingExporter(backend, _spool(directory), _QUICK)
    directory.rmdir()
    backend.up = False
    with pytest.raises(Retryable, match="cannot be written"):
        exporter.export(_spans("a"), 1)


_DRILL = """
import sys
from pathlib import Path
from kai_tracing_core.processing.batch import BatchOptions, BatchProcessor
from kai_tracing_core.processing.http import HttpOptions, HttpSender
from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import PayloadExporter
from kai_tracing_core.processing.retry import RetryPolicy
from kai_tracing_core.processing.spool import Spool
from kai_tracing_core.processing.spooling import SpoolingExporter

class Exporter(PayloadExporter):
    def __init__(self):
        self.sender = HttpSender(HttpOptions(sys.argv[2]))
    def encode(self, spans):
        return "\\n".join(span.name for span in spans).encode()
    def send(self, payload, timeout):
        self.sender.post(payload, "text/plain", timeout)
        return 0

exporter = SpoolingExporter(Exporter(), Spool(Path(sys.argv[1]), max_bytes=1 << 20, kind="drill"),
                            RetryPolicy(initial=0.01, maximum=0.05))
queue = BatchProcessor(exporter, BatchOptions(max_batch=10, delay=0.01))
queue.resume()
pipeline = SpanPipeline(PipelineConfig(), queue)
for number in range(int(sys.argv[3])):
    pipeline.start(f"{sys.argv[4]}-{number}").end()
queue.flush(20)
print("spooled", queue.stats().spooled, flush=True)
if sys.argv[4] == "last":
    while exporter.due() is not None:
        exporter.catch_up(1)
    print("resent", exporter.spool_stats().resent, exporter.spool_stats().dropped, flush=True)
else:
    sys.stdin.read()
"""


class _Collector(BaseHTTPRequestHandler):
    mode = "down"
    received: Counter[str]
    reached: threading.Event

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.mode == "down":
            self.send_response(503)
        else:
            self.received.update(body.split("\n"))
            self.reached.set()
            if self.mode == "silent":
                # The spans arrived, but the sender will be killed before it learns of it.
                threading.Event().wait(30)
            self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing: the test speaks for itself."""


def test_crash_drill(tmp_path: Path) -> None:
    """SIGKILL during the export: after a restart every spooled span has arrived exactly once, or is counted as resent.

    The first process spools 100 spans while the collector is away and is killed; the second replays them to a
    collector that takes the first batch and does not answer, and is killed in the middle of that; the third finds a
    working collector.
    """
    collector = type("Collector", (_Collector,), {"received": Counter(), "reached": threading.Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), collector)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(count: int, name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _DRILL, str(tmp_path), f"http://127.0.0.1:{server.server_port}/", str(count), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def kill(process: subprocess.Popen[str]) -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)

    try:
        first = run(100, "first")
        assert first.stdout is not None
        assert first.stdout.readline() == "spooled 100\n"
        kill(first)

        collector.mode = "silent"
        second = run(0, "second")
        assert collector.reached.wait(20)
        kill(second)

        collector.mode = "up"
        third = run(5, "last")
        said, _ = third.communicate(timeout=60)
        assert third.returncode == 0
    finally:
        server.shutdown()
        server.server_close()
    assert "resent 10 {}" in said
    names = {f"first-{number}" for number in range(100)} | {f"last-{number}" for number in range(5)}
    assert set(collector.received) == names
    twice = {name for name, times in collector.received.items() if times != 1}
    assert len(twice) == 10
    assert [path.name for path in tmp_path.iterdir()] == []


def test_temporary_files_of_the_dead_are_removed(tmp_path: Path) -> None:
    """What a process that died while writing left behind goes after an hour; what may still be written stays."""
    old, young = tmp_path / "test-1.tmp", tmp_path / "test-2.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    _spool(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_files_that_are_no_batches_harm_nothing(tmp_path: Path) -> None:
    """One without a number in its name, and one that is gone when it is opened, are passed over."""
    spool = _spool(tmp_path, max_bytes=100)
    (tmp_path / "test-0-odd.batch").write_bytes(b"")
    (tmp_path / "test-1-1.batch").symlink_to(tmp_path / "gone")
    spool.put(b"whole", 1)
    with spool.oldest() as file:
        assert file is not None
        assert file.payload == b"whole"
    spool.put(b"x" * 50, 2)
    assert spool.dropped == {"spool_torn": 0, "spool_full": 1}
    with spool.oldest() as file:
        assert file is not None
        assert file.count == 2


@pytest.mark.parametrize(("error", "reason"), [(TooLarge(), "too_large"), (RuntimeError("bug"), "export_error")])
def test_a_batch_that_cannot_be_sent_is_dropped_and_counted(
    error: Exception, reason: str, backend: _Backend, tmp_path: Path
) -> None:
    """It does not stop the ones behind it, whatever the exporter says or raises."""
    spool = _spool(tmp_path)
    spool.put(b"bad", 3)
    spool.put(b"good", 1)
    backend.answers = [error]
    exporter = SpoolingExporter(backend, spool, _QUICK)
    exporter.catch_up(10)
    assert backend.names == ["good"]
    assert exporter.spool_stats().dropped == {reason: 3}


def test_a_spool_that_cannot_be_read_is_tried_again(
    backend: _Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails is no exception in the worker: the batch waits and goes out when the disk is back."""

    def fail(file: object) -> None:
        raise OSError("input/output error")

    spool = _spool(tmp_path)
    spool.put(b"one", 1)
    exporter = SpoolingExporter(backend, spool, _QUICK)
    with monkeypatch.context() as broken:
        broken.setattr(spool, "begin", fail)  # no disk can be made to fail here
        exporter.catch_up(0.01)
    assert (backend.names, exporter.spool_stats().pending) == ([], 1)
    for _ in range(500):
        threading.Event().wait(exporter.due() or 0.0)
        exporter.catch_up(10)
        if backend.names:
            break
    assert backend.names == ["one"]


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_counts_from_zero(backend: _Backend, tmp_path: Path) -> None:
    """What the parent replayed and dropped is not reported by the child a second time; the directory is shared."""
    spool = _spool(tmp_path)
    for name in ("one", "two"):
        spool.put(name.encode(), 1)
    backend.answers = [Rejected("no")]
    exporter = SpoolingExporter(backend, spool, _QUICK)
    exporter.catch_up(10)
    spool.put(b"three", 1)
    assert exporter.spool_stats() == SpoolStats(1, 1, 0, {"rejected": 1})
    child = os.fork()
    if not child:
        exporter.after_fork()
        os._exit(0 if exporter.spool_stats() == SpoolStats(1, 0, 0, {}) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
