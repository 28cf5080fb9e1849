"""Protobuf's wire format as far as it takes to give the runtime one span at a time (protobuf.dev, "Encoding").

A message of 64 MiB may consist of 32 million empty ones, each of which the runtime makes an object of some hundred
bytes. So nobody parses a whole request: it is walked through, and each span is parsed and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Budget", "check_count", "fields", "parts", "without"]

MAX_ITEMS = 1_000_000


class Budget:
    """How many fields may still come."""

    def __init__(self, items: int, whose: str) -> None:
        self._left = self._items = items
        self._whose = whose

    def spend(self) -> None:
        """One more. Raises ValueError where it is one too many."""
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"{self._whose} has more than {self._items} parts")


def check_count(message: memoryview, *path: int) -> None:
    """Check that a request has no more than `MAX_ITEMS` fields down to those that the numbers of `path` lead to.

    It is done before anything is made of it, so that a request which is refused costs little.

    Raises:
        ValueError: it has more, or is no message.
    """
    if len(message) > 2 * MAX_ITEMS:  # a field takes two bytes, at least
        _count(message, path, Budget(MAX_ITEMS, "the request"))


def _count(message: memoryview, path: tuple[int, ...], budget: Budget) -> None:
    for number, part in fields(message, budget):
        if path and number == path[0] and part:
            _count(part, path[1:], budget)


def fields(message: memoryview, budget: Budget | None = None) -> Iterator[tuple[int, memoryview]]:
    """The numbers of the fields that have a length, with their bytes; fields of numbers are passed over.

    Raises:
        ValueError: it is no message, or is cut off, or has more fields of any kind than there is budget.
    """
    return ((number, message[start:end]) for number, _, start, end in _walk(message, budget))


def parts(message: memoryview, number: int) -> Iterator[memoryview]:
    """The messages in a repeated field. Raises ValueError as `fields` does."""
    return (message[start:end] for found, _, start, end in _walk(message) if found == number)


def without(message: memoryview, number: int) -> bytes:
    """The message without a field, and without what has no length. Raises ValueError as `fields` does."""
    return b"".join(message[first:end] for found, first, _, end in _walk(message) if found != number)


def _walk(message: memoryview, budget: Budget | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Of each field that has a length its number, and where it, its bytes, and the next one begin."""
    position, end = 0, len(message)
    while position < end:
        if budget is not None:
            budget.spend()
        first = position
        if (tag := message[position]) < 128:
            position += 1
        else:
            tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 2:
            size, start = _varint(message, position)
            position = start + size
            if position > end:
                raise ValueError("not protobuf: it is cut off")
            yield tag >> 3, first, start, position
        elif kind == 0:
            _, position = _varint(message, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError(f"not protobuf: there is no wire type {kind}")
    if position > end:
        raise ValueError("not protobuf: it is cut off")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while (byte := message[position]) > 127:
            value |= (byte & 127) << shift
            shift += 7
            position += 1
            if shift > 63:
                raise ValueError("not protobuf: a number has more than 64 bits")
    except IndexError as error:
        raise ValueError("not protobuf: it is cut off") from error
    return value | byte << shift, position + 1
