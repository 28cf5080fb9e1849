"""Text to tree. The grammar is `grammar.lark`; what its words mean is in `reading.py`."""

from __future__ import annotations

import re
from importlib.resources import files

from lark import Lark
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from kai_tracing_backend.language.errors import QueryError
from kai_tracing_backend.language.hints import hint
from kai_tracing_backend.language.nodes import Condition, Filter, TraceQuery, walk
from kai_tracing_backend.language.reading import Mistake, Reader

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "parse", "parse_condition"]

MAX_LENGTH = 8_192
"""Of a query, in characters."""

MAX_DEPTH = 40
"""How deeply the parts of a query may stand in one another."""

_GRAMMAR = (files("kai_tracing_backend.language") / "grammar.lark").read_text("utf-8")
# With the transformer in it the parser builds nodes as it reads: no depth of nesting meets Python's recursion limit.
_PARSER = Lark(_GRAMMAR, parser="lalr", transformer=Reader(), maybe_placeholders=False)

_EXPECTED = {
    "STRUCTURAL": "a structural operator such as >>",
    "COMPARED": "a comparison such as =",
    "NOT": "!",
    "DURATION": "a value",
    "WORD": "a name",
    "LBRACE": "{",
    "RBRACE": "}",
    "LPAR": "(",
    "RPAR": ")",
    "VBAR": "|",
    "COMMA": ",",
    "__ANON_0": "||",
    "__ANON_1": "&&",
    "$END": "the end",
}
"""What of a grammar's terminals is named in a message; the others go without saying."""

_BAD_WORD = re.compile(r"[^\s{}()=!~<>&|,]+")


def parse(text: str) -> TraceQuery:
    """The query that a text says.

    Raises:
        QueryError: it says none; with the place, and what was expected there.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"a query has at most {MAX_LENGTH} characters, this one has {len(text)}", text, MAX_LENGTH)
    try:
        text.encode()
        query: TraceQuery = _PARSER.parse(text)  # type: ignore[assignment]  # what the reader makes of the first rule
    except UnicodeEncodeError as error:
        raise QueryError("this is no Unicode character", text, error.start) from None
    except Mistake as mistake:
        raise QueryError(mistake.message, text, mistake.position) from None
    except (UnexpectedCharacters, UnexpectedToken) as error:
        raise _explained(error, text) from None
    if max(depth for _, depth in walk(query)) > MAX_DEPTH:
        raise QueryError(f"the parts of a query stand at most {MAX_DEPTH} deep in one another", text, 0)
    return query


def parse_condition(text: str) -> Condition:
    """What a query of one pair of braces asks of a span: `{ status = error }`.

    Raises:
        QueryError: it is no query, or has more than that.
    """
    query = parse(text)
    if query.stages or not isinstance(query.spansets, Filter):
        raise QueryError("one pair of braces is expected here, such as { status = error }", text, 0)
    return query.spansets.condition


def _explained(error: UnexpectedCharacters | UnexpectedToken, text: str) -> QueryError:
    """What the parser met, and what may stand there."""
    if isinstance(error, UnexpectedToken):
        ended = error.token.type == "$END"
        position = len(text.rstrip()) if ended else error.token.start_pos or 0
        met, accepted = "the query ends here" if ended else f"{error.token} is not expected here", error.accepts
    else:
        position, accepted = error.pos_in_stream or 0, error.allowed
        met = _unreadable(text, position)
    expected = [name for terminal, name in _EXPECTED.items() if terminal in (accepted or ())]
    meant = hint(text, position)
    return QueryError(f"{met}{f': {meant}' if meant else ''}; expected {_listed(expected)}", text, position)


def _unreadable(text: str, position: int) -> str:
    if text[position] in '"`':
        return "the string has no end"
    if text[position] == "'":
        return "a string stands in double quotes or in backquotes"
    if text[position].isdigit():
        found = _BAD_WORD.match(text, position)
        return f"{found[0] if found else text[position]} is no number and no duration (ns, us, ms, s, m, h)"
    return f"{text[position]} is not expected here"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
