"""What is wrong with a query, and where."""

from __future__ import annotations

__all__ = ["QueryError"]

_SHOWN = 100  # characters of a line, so that a long query fits into a message


class QueryError(ValueError):
    """A query that cannot be understood. `line` and `column` count from 1; `str()` shows the place with a caret."""

    def __init__(self, message: str, text: str, position: int) -> None:
        position = max(0, min(position, len(text)))
        begin = text.rfind("\n", 0, position) + 1
        self.message = message
        self.line = text.count("\n", 0, position) + 1
        self.column = position - begin + 1
        self._source = text[begin:].partition("\n")[0].encode("utf-8", "replace").decode()
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message} (line {self.line}, column {self.column})\n{self.pointer()}"

    def pointer(self) -> str:
        """The line of the query, and under it a caret at the column."""
        first = max(0, self.column - 1 - _SHOWN // 2)
        shown = self._source[first : first + _SHOWN].replace("\t", " ")
        return f"{shown}\n{' ' * (self.column - 1 - first)}^"
