"""OTLP's protobuf messages as the collector reads them: what comes again and again stays bytes.

A message in a field and bytes in a field are the same on the wire (protobuf.dev, "Encoding"). These classes are made of
OTLP's own descriptors, but attributes and statuses are bytes in them. Most of those a collector has seen before, and it
is quicker to find what they mean than to read them once more: `Remembered`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

__all__ = ["KeyValue", "Remembered", "ResourceSpans", "ScopeSpans", "Span", "Status"]

T = TypeVar("T")


class Remembered(dict[bytes, T]):
    """What `read` makes of a message, by its bytes. At most `most` of at most `longest` bytes are remembered.

    What it gives is shared by all who ask for it, and not to be changed.
    """

    def __init__(self, read: Callable[[bytes], T], most: int, longest: int) -> None:
        self._read, self._most, self._longest = read, most, longest

    def __missing__(self, message: bytes) -> T:
        found = self._read(message)
        if len(message) <= self._longest:
            if len(self) >= self._most:
                self.clear()  # what is frequent is here again soon
            self[message] = found
        return found


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for module in (common_pb2, resource_pb2, trace_pb2):
        file = descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        for message in file.message_type:
            for described in (message, *message.nested_type):
                for field in described.field:
                    if field.name in ("attributes", "status"):
                        field.ClearField("type_name")
                        field.type = field.TYPE_BYTES
        pool.Add(file)
    return pool


_POOL = _pool()


def _class(module: Any, name: str) -> Any:
    found = _POOL.FindMessageTypeByName(f"{module.DESCRIPTOR.package}.{name}")
    return message_factory.GetMessageClass(found)


KeyValue = _class(common_pb2, "KeyValue")
ResourceSpans = _class(trace_pb2, "ResourceSpans")
ScopeSpans = _class(trace_pb2, "ScopeSpans")
Span = _class(trace_pb2, "Span")
Status = _class(trace_pb2, "Status")
