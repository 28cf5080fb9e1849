"""Zipkin's v1 thrift (zipkin-api, zipkinCore.thrift): each span becomes what it is in v1 JSON, then as that."""

from __future__ import annotations

import base64
import struct
from ipaddress import ip_address
from typing import Any

from thrift.Thrift import TType

from kai_tracing_backend.collector.thrift import Struct, binary, list_of, one_of, read_list, scalar, text
from kai_tracing_backend.collector.validation import Accepted
from kai_tracing_backend.collector.zipkin import decode_spans
from kai_tracing_backend.collector.zipkin_v1 import halves
from kai_tracing_backend.columns import SpanColumns

__all__ = ["decode_thrift"]

_MOST = 100_000  # annotations of a span; what has more is no request of spans
_BOOL, _BYTES, _STRING = 0, 1, 6
_NUMBERS = {2: ">h", 3: ">i", 4: ">q", 5: ">d"}  # AnnotationType's I16, I32, I64 and DOUBLE


class _Endpoint(Struct):
    """A service at an address."""

    thrift_spec = (
        None,
        scalar(1, TType.I32, "ipv4"),
        scalar(2, TType.I16, "port"),
        text(3, "service"),
        binary(4, "ipv6"),
    )

    def __new__(cls, ipv4: int = 0, port: int = 0, service: str = "", ipv6: bytes = b"") -> Any:
        return {
            "serviceName": service,
            "ipv4": str(ip_address(ipv4 & 0xFFFFFFFF)) if ipv4 else "",
            "ipv6": str(ip_address(ipv6)) if len(ipv6) == 16 else "",
            "port": port & 0xFFFF,  # thrift has no unsigned numbers
        }


class _Annotation(Struct):
    """What happened when, and where."""

    thrift_spec = (None, scalar(1, TType.I64, "timestamp"), text(2, "value"), one_of(3, "host", _Endpoint))

    def __new__(cls, timestamp: int, value: str, host: Any = None) -> Any:
        return {"timestamp": timestamp, "value": value, "endpoint": host}


class _BinaryAnnotation(Struct):
    """A tag, or the address of the other side."""

    thrift_spec = (
        None,
        text(1, "key"),
        binary(2, "value"),
        scalar(3, TType.I32, "kind"),
        one_of(4, "host", _Endpoint),
    )

    def __new__(cls, key: str, value: bytes, kind: int, host: Any = None) -> Any:
        return {"key": key, "value": _value(kind, value), "endpoint": host}


class _Span(Struct):
    """A span; times are microseconds, and 0 is none."""

    thrift_spec = (
        None,
        scalar(1, TType.I64, "trace"),
        None,
        text(3, "name"),
        scalar(4, TType.I64, "span"),
        scalar(5, TType.I64, "parent"),
        list_of(6, "annotations", _Annotation),
        None,
        list_of(8, "binary", _BinaryAnnotation),
        scalar(9, TType.BOOL, "debug"),
        scalar(10, TType.I64, "timestamp"),
        scalar(11, TType.I64, "duration"),
        scalar(12, TType.I64, "trace_high"),
    )

    def __new__(
        cls,
        trace: int,
        span: int,
        name: str = "",
        parent: int = 0,
        annotations: Any = (),
        binary: Any = (),
        debug: bool = False,
        timestamp: int = 0,
        duration: int = 0,
        trace_high: int = 0,
    ) -> Any:
        return {
            "traceId": struct.pack(">qq", trace_high, trace).hex(),
            "id": struct.pack(">q", span).hex(),
            "parentId": struct.pack(">q", parent).hex() if parent else None,
            "name": name,
            "annotations": list(annotations),
            "binaryAnnotations": list(binary),
            "debug": debug,
            "timestamp": timestamp,
            "duration": duration,
        }


def decode_thrift(body: bytes) -> tuple[SpanColumns, Accepted]:
    """The spans of a list in the binary protocol, the body of `POST /api/v1/spans` as `application/x-thrift`.

    Raises:
        ValueError: it is none.
    """
    return decode_spans(read_list(_Span, body, _MOST), halves)


def _value(kind: int, value: bytes) -> bool | float | str:
    """A value of its type as v1 JSON has it: bytes in Base64. What is not of the size of its type is bytes."""
    if kind == _STRING:
        return value.decode(errors="replace")
    if kind == _BOOL and len(value) == 1:
        return value != b"\0"
    layout = _NUMBERS.get(kind)
    if layout and len(value) == struct.calcsize(layout):
        found: float = struct.unpack(layout, value)[0]
        return found
    return base64.b64encode(value).decode()
