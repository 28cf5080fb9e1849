"""What spans are sent to while they are measured: servers that only count, in a process of their own.

`python -m benchmarks.sinks http` prints its port and answers every POST with an empty 200; a GET gives what was
counted. `udp` takes datagrams.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["http_sink", "received", "udp_sink"]

_count = {"requests": 0, "bytes": 0}


async def _serve_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await _read_body(head, reader)
            answer = b"{}" if not head.startswith(b"get") else json.dumps(_count).encode()
            if head.startswith((b"post", b"put")):
                _count["requests"] += 1
                _count["bytes"] += len(body)
                answer = b"" if b"protobuf" in head else b"{}"
            status = b"202 Accepted" if b"/api/v2/spans" in head else b"200 OK"  # as Zipkin does
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(answer), answer))
            await writer.drain()
            if b"connection: close" in head:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return await reader.readexactly(int(value))
        if name == b"transfer-encoding":
            return await _read_chunks(reader)
    return b""


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


class _Datagrams(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: object) -> None:
        _count["requests"] += 1
        _count["bytes"] += len(data)


async def _main(kind: str) -> None:
    # The counts are asked for over HTTP in either case.
    server = await asyncio.start_server(_serve_http, "127.0.0.1", 0, limit=1 << 26)
    ports = [server.sockets[0].getsockname()[1]]
    if kind == "udp":
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(_Datagrams, local_addr=("127.0.0.1", 0))
        ports.append(transport.get_extra_info("sockname")[1])
    print(*ports, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the parent is gone
    server.close()


@contextmanager
def _run(kind: str) -> Iterator[list[int]]:
    command = [sys.executable, "-m", "benchmarks.sinks", kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield [int(port) for port in process.stdout.readline().split()]
        finally:
            process.kill()


@contextmanager
def http_sink() -> Iterator[str]:
    """Run an HTTP sink; gives its base URL."""
    with _run("http") as (port,):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def udp_sink() -> Iterator[tuple[str, int]]:
    """Run a UDP sink; gives the URL where its counts are and the UDP port."""
    with _run("udp") as (port, udp_port):
        yield f"http://127.0.0.1:{port}", udp_port


def received(url: str) -> dict[str, int]:
    """How many requests (or datagrams) the sink got, and how many bytes."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
