"""Zipkin's v1 thrift (zipkinCore.thrift) in the binary protocol, written field by field."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address

from thrift.Thrift import TType

__all__ = [
    "BOOL",
    "BYTES",
    "DOUBLE",
    "I16",
    "I32",
    "I64",
    "STRING",
    "annotation",
    "binary",
    "endpoint",
    "spans_of",
    "v1",
]

BOOL, BYTES, I16, I32, I64, DOUBLE, STRING = range(7)
"""AnnotationType."""

_LAYOUTS = {TType.BOOL: ">?", TType.I16: ">h", TType.I32: ">i", TType.I64: ">q"}


def _struct(*fields: tuple[int, int, int | bytes | list[bytes] | None]) -> bytes:
    """Fields of number, type and value; structs are bytes already. None is absent."""
    return b"".join(_field(*field) for field in fields if field[2] is not None) + b"\0"


def _field(number: int, kind: int, value: int | bytes | list[bytes] | None) -> bytes:
    head = struct.pack(">bh", kind, number)
    if isinstance(value, list):
        return head + spans_of(*value)
    if isinstance(value, bytes):
        return head + (value if kind == TType.STRUCT else struct.pack(">i", len(value)) + value)
    return head + struct.pack(_LAYOUTS[kind], value)


def spans_of(*structs: bytes) -> bytes:
    """A list of structs, which a request is."""
    return struct.pack(">bi", TType.STRUCT, len(structs)) + b"".join(structs)


def endpoint(service: str | None, ipv4: str | None = None, port: int = 0, ipv6: str | None = None) -> bytes:
    """A service at an address; numbers as thrift has them, signed."""
    address = int.from_bytes(ip_address(ipv4).packed, "big", signed=True) if ipv4 else 0
    return _struct(
        (1, TType.I32, address),
        (2, TType.I16, port - 65_536 if port > 32_767 else port),
        (3, TType.STRING, service.encode() if service is not None else None),
        (4, TType.STRING, ip_address(ipv6).packed if ipv6 else None),
    )


def annotation(timestamp: int, value: str, host: bytes | None = None) -> bytes:
    """What happened when, in microseconds."""
    return _struct((1, TType.I64, timestamp), (2, TType.STRING, value.encode()), (3, TType.STRUCT, host))


def binary(key: str, value: bytes | str = b"\1", kind: int | None = None, host: bytes | None = None) -> bytes:
    """A tag, or an address: a text, or bytes of a type."""
    kind = kind if kind is not None else STRING if isinstance(value, str) else BOOL
    content = value.encode() if isinstance(value, str) else value
    return _struct(
        (1, TType.STRING, key.encode()), (2, TType.STRING, content), (3, TType.I32, kind), (4, TType.STRUCT, host)
    )


def v1(
    trace: int = 1,
    own: int = 2,
    annotations: Sequence[bytes] = (),
    tags: Sequence[bytes] = (),
    *,
    name: str = "get",
    parent: int | None = None,
    debug: bool | None = None,
    timestamp: int | None = None,
    duration: int | None = None,
    high: int | None = None,
) -> bytes:
    """A span."""
    return _struct(
        (1, TType.I64, trace),
        (3, TType.STRING, name.encode()),
        (4, TType.I64, own),
        (5, TType.I64, parent),
        (6, TType.LIST, list(annotations)),
        (8, TType.LIST, list(tags)),
        (9, TType.BOOL, debug),
        (10, TType.I64, timestamp),
        (11, TType.I64, duration),
        (12, TType.I64, high),
    )
