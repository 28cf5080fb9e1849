"""Thrift that strangers sent, read with Apache's library into what each struct's constructor makes of its fields.

Bounded: a length is believed only as far as there are bytes, nothing is nested more than 64 deep (the library's limit),
and a struct without its required fields ends the reading, so that a small message cannot become many objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from thrift.protocol.TBase import TFrozenBase
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.protocol.TCompactProtocol import TCompactProtocolAccelerated
from thrift.Thrift import TException, TMessageType, TType
from thrift.transport.TTransport import TMemoryBuffer

__all__ = ["Struct", "binary", "list_of", "one_of", "read", "read_list", "read_message", "scalar", "text"]

_MAX_ITEMS = 1_000_000  # of one list
_MISSING = re.compile(r"_?(\w+)\.__new__\(\) missing \d+ required positional arguments?:")
_FAULTS = (TException, EOFError, TypeError, ValueError, OverflowError)

Protocol = Any
Field = tuple[Any, ...]


class Struct(TFrozenBase):  # type: ignore[misc]  # the library has no types
    """A struct. Its constructor gets the fields that came, by name, and need not make an instance of it."""

    thrift_spec: tuple[Field | None, ...]

    @classmethod
    def read(cls, protocol: Protocol) -> Any:
        """What the constructor made of the struct that comes next."""
        if protocol._fast_decode is not None:  # in C, where the library is built with it
            return protocol._fast_decode(None, protocol, [cls, cls.thrift_spec])
        return protocol.readStruct(cls, cls.thrift_spec, True)


def scalar(number: int, kind: int, name: str) -> Field:
    """A field of a number or boolean."""
    return number, kind, name, None, None


def text(number: int, name: str) -> Field:
    """A field of text; what is not UTF-8 becomes U+FFFD."""
    return number, TType.STRING, name, "UTF8", None


def binary(number: int, name: str) -> Field:
    """A field of bytes."""
    return number, TType.STRING, name, "BINARY", None


def one_of(number: int, name: str, struct: type[Struct]) -> Field:
    """A field of another struct."""
    return number, TType.STRUCT, name, [struct, struct.thrift_spec], None


def list_of(number: int, name: str, struct: type[Struct]) -> Field:
    """A field of a list of structs."""
    return number, TType.LIST, name, (TType.STRUCT, [struct, struct.thrift_spec], False), None


def read(struct: type[Struct], body: bytes) -> Any:
    """The struct that a body is, in the binary protocol.

    Raises:
        ValueError: it is none.
    """
    try:
        return struct.read(_protocol(body, compact=False))
    except _FAULTS as error:
        raise _fault(error) from error


def read_list(struct: type[Struct], body: bytes, most: int) -> Iterator[Any]:
    """The structs of the list that a body is, in the binary protocol, one after the other.

    `most` is how many items a list within one of them may have.

    Raises:
        ValueError: it is none, or not one to its end; structs that came before are good.
    """
    protocol = _protocol(body, compact=False)
    try:
        kind, count = protocol.readListBegin()
        if kind != TType.STRUCT:
            raise ValueError("a list of structs is expected")
        protocol.container_length_limit = most
        for _ in range(count):
            yield struct.read(protocol)
    except _FAULTS as error:
        raise _fault(error) from error


def read_message(arguments: type[Struct], method: str, packet: bytes, *, compact: bool) -> Any:
    """The arguments of a call of this method.

    Raises:
        ValueError: the packet is none.
    """
    protocol = _protocol(packet, compact=compact)
    try:
        name, kind, _ = protocol.readMessageBegin()
        if name != method or kind not in (TMessageType.CALL, TMessageType.ONEWAY):
            raise ValueError(f"a call of {method} is expected, not of {name[:50]!r}")
        return arguments.read(protocol)
    except _FAULTS as error:
        raise _fault(error) from error


def _protocol(body: bytes, *, compact: bool) -> Protocol:
    kind = TCompactProtocolAccelerated if compact else TBinaryProtocolAccelerated
    return kind(TMemoryBuffer(body), string_length_limit=len(body), container_length_limit=_MAX_ITEMS)


def _fault(error: Exception) -> ValueError:
    said = "it is cut off" if isinstance(error, EOFError) else _MISSING.sub(r"\1 without", str(error))
    return ValueError(f"not thrift as it should be: {said}")
