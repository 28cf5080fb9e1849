"""A whole backend on a file system of its own that becomes full, and gets room again."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.backend import PROTOBUF, ask, scraped
from tests.support.serving import Serving

SIZE = 192
"""MiB of the file system: when there is room, there is some for a log of 64 MiB and what is in the journal."""

SPANS = 40
"""Of a trace."""

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare to mount with"),
]


class Disk:
    """A file system that only processes of a mount namespace of its own see; `inside` makes a command one of them."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.mounted = folder / "disk"
        self.mounted.mkdir()
        mount = f"mount -t tmpfs -o size={SIZE}m none disk"
        if kind == "ext4":
            mount = f"truncate -s {SIZE}M image && mkfs.ext4 -q -m 0 image && mount -o loop image disk"
        self._users = ["--user", "--map-root-user"] if os.geteuid() else []
        command = ["unshare", *self._users, "--mount", "sh", "-c", f"{mount} && echo mounted && exec sleep 600"]
        self._holder = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_with_tools()
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "mounted\n":
            _, said = self._holder.communicate(timeout=30)
            pytest.skip(f"this machine does not let a test mount {kind}: {said.strip()}")

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command as it is run in there."""
        users = ["--user", "--preserve-credentials"] if self._users else []
        return ["nsenter", "--target", str(self._holder.pid), *users, "--mount", "--", *command]

    def leave(self, mebibytes: int) -> None:
        """Have so much free, of what was free at first less what others wrote."""
        self._ballast.unlink(missing_ok=True)
        self._ballast.write_bytes(bytes(self.room() - (mebibytes << 20)))

    def room(self) -> int:
        """Bytes that are free."""
        free = os.statvfs(self._ballast.parent)
        return free.f_bavail * free.f_frsize

    def free(self) -> None:
        """Have all free that others did not write."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return Path(f"/proc/{self._holder.pid}/root{self.mounted}/ballast")

    def close(self) -> None:
        """The last process of the namespace takes the mount with it."""
        self._holder.kill()
        self._holder.communicate(timeout=30)


def _with_tools() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


class Server(Serving):
    """`kai-tracing serve` on the disk, and what is sent to it."""

    def __init__(self, disk: Disk, folder: Path, tail: str, reserve: int = 0) -> None:
        settings = {"data": disk.mounted / "data", "tail_sampling": tail, "disk_reserve": reserve}
        super().__init__(folder, "otlp_http", inside=disk.inside, **settings)
        self.wait()

    def send(self, number: int) -> int:
        """Send a trace that takes some room. Returns the status."""
        return ask(self.ports["otlp_http"], "/v1/traces", trace(number), PROTOBUF).status

    def spans(self, number: int) -> int:
        """How many spans of a trace are there."""
        answer = ask(self.ports["api"], f"/api/v1/traces/{number:032x}")
        return len(answer.json["spans"]) if answer.status == 200 else 0


START = time.time_ns()


def trace(number: int) -> bytes:
    """A trace that failed, with attributes that cannot be compressed; the same spans each time."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    spans = of_resource.scope_spans.add().spans
    for own in range(1, SPANS + 1):
        one = spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=own.to_bytes(8, "big"),
            parent_span_id=b"" if own == 1 else (1).to_bytes(8, "big"),
            name="op",
            start_time_unix_nano=START + number,
            end_time_unix_nano=START + number + 1_000,
        )
        one.status.code = 2
        one.attributes.add(key="noise").value.string_value = os.urandom(4_000).hex()
    return request.SerializeToString()


def fill(server: Server, numbers: Iterator[int], refused: list[int]) -> list[int]:
    """Send until three traces were refused for want of room. Returns what was acknowledged."""
    stored: list[int] = []
    until = len(refused) + 3
    while len(refused) < until:
        number = next(numbers)
        assert number < 3_000, "the disk does not become full"
        status = server.send(number)
        assert status in (200, 503), status
        (stored if status == 200 else refused).append(number)
    return stored


@pytest.mark.parametrize(("kind", "tail"), [("tmpfs", ""), ("ext4", "error")], ids=["all", "tail sampling"])
def test_a_full_disk_loses_nothing_and_is_over_when_there_is_room(tmp_path: Path, kind: str, tail: str) -> None:
    """Senders get 503 while it is full, reads go on, a killed backend starts again, and everything acknowledged stays.

    Each backend logs it once, however many are refused, and once that it is over. One that is ended while there is no
    room ends soon; its exit status is 1 where something that it acknowledged still has to be stored, and it says so.
    With tail sampling the journal has no room either. What was refused and comes again is there once, whole. A tmpfs
    refuses at once; ext4 may find out late that it has no room (delayed allocation).
    """
    numbers = iter(range(1, 10_000))
    refused: list[int] = []
    disk = Disk(tmp_path, kind)
    server = Server(disk, tmp_path, tail)
    try:
        disk.leave(8)
        stored = fill(server, numbers, refused)
        assert stored
        if not tail:
            assert server.spans(stored[0]) == SPANS
        server.kill()
        server.start()
        server.wait()
        disk.leave(4)
        stored += fill(server, numbers, refused)
        said = server.log.stat().st_size
        status, told = server.stop(within=60), server.log.read_text()[said:]
        assert (status, told) == (0, "") or (status == 1 and "are stored when the backend is started again" in told)
        server.start()
        server.wait()
        disk.leave(4)
        stored += fill(server, numbers, refused)
        disk.free()
        deadline = time.monotonic() + 60
        for number in refused:
            while server.send(number) != 200:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            stored.append(number)
        while tail and scraped(server.ports["api"])["tail_held_bytes", (("tenant", "default"),)]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert {number: server.spans(number) for number in stored} == dict.fromkeys(stored, SPANS)
        rates = ask(server.ports["api"], "/api/v1/rates").json["rates"]
        assert sum(rate["spans"] for rate in rates) == SPANS * len(stored)
    finally:
        status = server.stop()
        disk.close()
    log = server.log.read_text()
    assert status == 0, log
    assert log.count("spans of default are refused: there is no room on the disk") == 3
    assert log.count("spans of default are stored again") == 1


def test_senders_do_not_get_the_reserve(tmp_path: Path) -> None:
    """They are refused while the reserve is still there, but for what one request takes, and not when there is more."""
    reserve = 64 << 20
    numbers = iter(range(1, 10_000))
    refused: list[int] = []
    disk = Disk(tmp_path, "tmpfs")
    server = Server(disk, tmp_path, "", reserve)
    try:
        disk.leave(72)
        stored = fill(server, numbers, refused)
        assert stored
        assert reserve - (8 << 20) < disk.room() < reserve
        disk.free()
        assert [server.send(number) for number in refused] == [200] * len(refused)
        assert {number: server.spans(number) for number in [*stored, *refused]} == dict.fromkeys(
            [*stored, *refused], SPANS
        )
    finally:
        status = server.stop()
        disk.close()
    log = server.log.read_text()
    assert status == 0, log
    assert "less than the 67,108,864 of the reserve (TRACING_BACKEND_DISK_RESERVE)" in log
