"""Jaeger's thrift as jaeger-client writes it."""

from __future__ import annotations

import time
from typing import Any

from jaeger_client.thrift_gen.agent import Agent
from jaeger_client.thrift_gen.jaeger import ttypes
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.Thrift import TMessageType
from thrift.transport.TTransport import TMemoryBuffer

THRIFT = "application/x-thrift"
NOW = time.time_ns() // 1_000  # Jaeger counts microseconds

STRING, DOUBLE, BOOL, LONG = range(4)


def tag(key: str, value: Any) -> Any:
    """A tag of the value's type."""
    kinds = {str: (STRING, "vStr"), float: (DOUBLE, "vDouble"), bool: (BOOL, "vBool"), int: (LONG, "vLong")}
    kind, field = kinds[type(value)]
    return ttypes.Tag(key, kind, **{field: value})


def tags(pairs: dict[str, Any]) -> list[Any]:
    """A tag for each pair."""
    return [tag(key, value) for key, value in pairs.items()]


def span(own: int = 1, trace: int = 1, **fields: Any) -> Any:
    """A good span, changed."""
    return ttypes.Span(
        **{
            "traceIdLow": trace,
            "traceIdHigh": 0,
            "spanId": own,
            "parentSpanId": 0,
            "operationName": "op",
            "flags": 1,
            "startTime": NOW,
            "duration": 7,
            **fields,
        }
    )


def batch(*spans: Any, service: str = "shop", **resource: Any) -> Any:
    """The spans of a process."""
    return ttypes.Batch(ttypes.Process(service, tags(resource)), list(spans))


def body_of(made: Any) -> bytes:
    """A batch as a collector gets it."""
    buffer = TMemoryBuffer()
    made.write(TBinaryProtocol(buffer))
    return bytes(buffer.getvalue())


def packet_of(made: Any, *, compact: bool, method: str = "emitBatch") -> bytes:
    """A batch as an agent gets it."""
    buffer = TMemoryBuffer()
    protocol = (TCompactProtocol if compact else TBinaryProtocol)(buffer)
    protocol.writeMessageBegin(method, TMessageType.ONEWAY, 1)
    Agent.emitBatch_args(made).write(protocol)
    protocol.writeMessageEnd()
    return bytes(buffer.getvalue())
