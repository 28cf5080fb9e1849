"""What the parts of a parsed text mean: each rule of `grammar.lark` becomes a node, or an error with its place."""

from __future__ import annotations

import math
import re
from difflib import get_close_matches
from typing import Any, NamedTuple

from lark import Token, Transformer

from kai_tracing_backend.language.nodes import (
    Aggregate,
    AggregateFilter,
    And,
    Arithmetic,
    Coalesce,
    Comparison,
    Condition,
    Everything,
    Field,
    Filter,
    GroupBy,
    Literal,
    Not,
    Or,
    Select,
    SpansetOperation,
    TraceQuery,
    Value,
)
from kai_tracing_backend.language.regex import check_regex
from kai_tracing_backend.language.vocabulary import (
    ALIASES,
    ENUMS,
    FUNCTIONS,
    ID_DIGITS,
    INTRINSICS,
    METRICS,
    MISNOMERS,
    SCOPES,
    UNITS,
)
from kai_tracing_backend.units import measured

__all__ = ["Mistake", "Reader"]

_INT64 = 1 << 63
_NUMBERS = ("int", "float", "duration")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}
_CONDITIONS = (Comparison, And, Or, Not, Everything)
_CONSTANTS: dict[str, Literal] = {
    "true": Literal(True, "bool"),
    "false": Literal(False, "bool"),
    "nil": Literal(None, "nil"),
    **{word: Literal(number, kind) for word, (kind, number) in ENUMS.items()},
}


class Mistake(Exception):
    """A part of a query that means nothing, with where it begins."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


class _At(NamedTuple):
    node: Any
    position: int


class Reader(Transformer[Token, Any]):
    """One method for each rule; those of expressions give the node with its place."""

    # -- spansets and stages -----------------------------------------------------------------------------------------

    def start(self, parts: list[Any]) -> TraceQuery:
        """A query."""
        spansets, *stages = parts
        return TraceQuery(spansets, tuple(_finished(stage) for stage in stages))

    def either(self, parts: list[Any]) -> Any:
        """Spansets with `||` between them."""
        return _chain("||", parts)

    def both(self, parts: list[Any]) -> Any:
        """Spansets with `&&` between them."""
        return _chain("&&", parts)

    def related(self, parts: list[Any]) -> Any:
        """Spansets with structural operators between them, from left to right."""
        found = parts[0]
        for op, right in zip(parts[1::2], parts[2::2], strict=True):
            found = SpansetOperation(str(op), found, right)
        return found

    def filter(self, parts: list[_At]) -> Filter:
        """Spans by a condition."""
        return Filter(_condition(parts[0])) if parts else Filter()

    def call(self, parts: list[Any]) -> _At:
        """What a function makes: an aggregate or a stage."""
        name, *arguments = parts
        position = name.start_pos
        if name in ("by", "select"):
            fields = tuple(_field(argument) for argument in arguments)
            if not fields:
                raise Mistake(f"{name}() needs a field, such as {name}(resource.service.name)", position)
            return _At(GroupBy(fields) if name == "by" else Select(fields), position)
        if name in ("count", "coalesce"):
            if arguments:
                raise Mistake(f"{name}() takes nothing in its parentheses", arguments[0].position)
            return _At(Aggregate("count") if name == "count" else Coalesce(), position)
        if name in FUNCTIONS:
            if len(arguments) != 1:
                raise Mistake(f"{name}() takes one value, such as {name}(duration)", position)
            return _At(Aggregate(str(name), _number(arguments[0])), position)
        if name in METRICS:
            raise Mistake(f"{name}() makes a metric, which this language does not: it finds traces", position)
        raise Mistake(f"there is no function {name}(){_near(name, FUNCTIONS)}", position)

    def call_filter(self, parts: list[Any]) -> AggregateFilter:
        """An aggregate compared with a number or another aggregate."""
        left, op, right = parts
        for side in (left, right):
            if not isinstance(side.node, (Aggregate, Literal)):
                raise Mistake("only count(), avg(), min(), max() and sum() give a number to compare", side.position)
        if isinstance(right.node, Literal) and right.node.kind not in _NUMBERS:
            raise Mistake("a number or a duration is expected", right.position)
        if op in ("=~", "!~"):
            raise Mistake(f"{op} compares strings, and this is a number", op.start_pos)
        return AggregateFilter(left.node, str(op), right.node)

    # -- conditions --------------------------------------------------------------------------------------------------

    def or_(self, parts: list[_At]) -> _At:
        """Conditions with `||` between them."""
        return parts[0] if len(parts) == 1 else _At(Or(tuple(map(_condition, parts))), parts[0].position)

    def and_(self, parts: list[_At]) -> _At:
        """Conditions with `&&` between them."""
        return parts[0] if len(parts) == 1 else _At(And(tuple(map(_condition, parts))), parts[0].position)

    def not_(self, parts: list[Any]) -> _At:
        """A condition that is not true."""
        return _At(Not(_condition(parts[1])), parts[0].start_pos)

    def comparison(self, parts: list[Any]) -> _At:
        """Two values compared, or one value alone."""
        if len(parts) == 1:
            return parts[0]  # type: ignore[no-any-return]  # what the other rules give
        left, op, right = parts
        _check_comparison(left, op, right)
        return _At(Comparison(left.node, str(op), right.node), left.position)

    # -- values ------------------------------------------------------------------------------------------------------

    def terms(self, parts: list[Any]) -> _At:
        """Values with `+` or `-` between them."""
        found: _At = parts[0]
        for op, right in zip(parts[1::2], parts[2::2], strict=True):
            found = _At(Arithmetic(str(op), _number(found), _number(right)), found.position)
        return found

    factors = terms

    def word(self, parts: list[Token]) -> _At:
        """A field, an enum's word, `true`, `false` or `nil`."""
        (token,) = parts
        return _At(_word(token), token.start_pos or 0)

    def literal(self, parts: list[Token]) -> _At:
        """A number, a duration or a string."""
        token = parts[-1]
        position = parts[0].start_pos or 0
        text = str(token)
        if token.type == "RAW":
            return _At(Literal(text[1:-1], "string"), position)
        if token.type == "STRING":
            return _At(Literal(_unescaped(text[1:-1], position + 1), "string"), position)
        sign = -1 if len(parts) == 2 else 1
        if token.type == "FLOAT":
            number = float(text)
            if math.isinf(number):
                raise Mistake("the number is too large", position)
            return _At(Literal(sign * number, "float"), position)
        if len(text) > 100:
            raise Mistake("the number has too many digits", position)
        whole = sign * (int(text) if token.type == "INT" else measured(text, UNITS) or 0)
        if not -_INT64 <= whole < _INT64:
            raise Mistake("the number does not fit into 64 bits", position)
        return _At(Literal(whole, "int" if token.type == "INT" else "duration"), position)


def _chain(op: str, parts: list[Any]) -> Any:
    found = parts[0]
    for right in parts[1:]:
        found = SpansetOperation(op, found, right)
    return found


def _finished(stage: Any) -> Any:
    if not isinstance(stage, _At):
        return stage
    if isinstance(stage.node, Aggregate):
        name = f"{stage.node.function}({'' if stage.node.value is None else '…'})"
        raise Mistake(f"{name} has to be compared, as in {name} > 3", stage.position)
    return stage.node


def _condition(at: _At) -> Condition:
    node = at.node
    if isinstance(node, _CONDITIONS):
        return node
    if isinstance(node, Literal) and node.kind == "bool":
        return Everything() if node.value else Not(Everything())
    if isinstance(node, Field) and node.scope != "intrinsic":
        return Comparison(node, "=", Literal(True, "bool"))
    what = f"{node} alone is no condition" if isinstance(node, (Field, Literal)) else "this is a value"
    raise Mistake(f"{what}: compare it with something", at.position)


def _value(at: _At) -> Value:
    if isinstance(at.node, _CONDITIONS):
        raise Mistake("a value is expected, and this is a condition", at.position)
    found: Value = at.node
    return found


def _field(at: _At) -> Field:
    if not isinstance(at.node, Field):
        raise Mistake("a field is expected, such as resource.service.name", at.position)
    return at.node


def _number(at: _At) -> Value:
    node = _value(at)
    if _kind(node) not in (None, *_NUMBERS):
        raise Mistake(f"a number or a duration is expected, and {_called(node)} is none", at.position)
    return node


def _kind(node: Value) -> str | None:
    """The type of a value; None for an attribute, which may have any."""
    if isinstance(node, Literal):
        return node.kind
    if isinstance(node, Field):
        return INTRINSICS[node.name] if node.scope == "intrinsic" else None
    return "float"


def _called(node: Value) -> str:
    return "this" if isinstance(node, Arithmetic) else str(node)


def _check_comparison(left: _At, op: Token, right: _At) -> None:
    """Whether such values can be compared so."""
    kinds = [_kind(_value(left)), _kind(_value(right))]
    position = op.start_pos or 0
    if op in ("=~", "!~"):
        if kinds[0] not in (None, "string"):
            raise Mistake(f"{op} compares strings, and {_called(left.node)} is none", position)
        if not (isinstance(right.node, Literal) and right.node.kind == "string"):
            raise Mistake(f"a regular expression in quotes is expected after {op}", right.position)
        if (wrong := check_regex(str(right.node.value))) is not None:
            raise Mistake(wrong, right.position)
        return
    _check_intrinsic(left, right)
    _check_intrinsic(right, left)
    equality = op in ("=", "!=")
    if "nil" in kinds:
        other = left if kinds[1] == "nil" else right
        if not equality or not isinstance(other.node, Field):
            raise Mistake("nil says that a field is not there: field = nil or field != nil", position)
        return
    if not equality and (words := [kind for kind in kinds if kind in ("bool", "status", "kind")]):
        what = "true and false are" if words[0] == "bool" else f"a {words[0]} is"
        raise Mistake(f"{what} compared with = and != only", position)
    groups = ["number" if kind in _NUMBERS else kind for kind in kinds]
    if groups[0] == groups[1] and None not in groups:
        return
    enums = [kind for kind in kinds if kind in ("status", "kind")]
    if enums or None not in groups:
        raise Mistake(_mismatch(left, right, enums), right.position)


def _check_intrinsic(field: _At, other: _At) -> None:
    """Whether the field, if it is one that takes few values only, can be compared with the other."""
    node, given = field.node, other.node
    if not (isinstance(node, Field) and node.scope == "intrinsic"):
        return
    value = given.value if isinstance(given, Literal) else None
    if node.name == "nestedSetParent" and (not isinstance(given, Literal) or value not in (-1, 0, None)):
        raise Mistake(f"{node.name} is only known to be negative for roots: {node.name} < 0", other.position)
    digits = ID_DIGITS.get(node.name)
    if digits and isinstance(value, str) and not re.fullmatch(f"[0-9a-fA-F]{{1,{digits}}}", value):
        none = f"; where there is none, {node.name} = nil" if not value else ""
        raise Mistake(f"an id of up to {digits} hexadecimal digits is expected{none}", other.position)


def _mismatch(left: _At, right: _At, enums: list[str]) -> str:
    message = f"{_called(left.node)} and {_called(right.node)} are of different types and never equal"
    if enums:
        words = [word for word, (kind, _) in ENUMS.items() if kind == enums[0]]
        message += f"; a {enums[0]} is one of {', '.join(words)}, without quotes"
    elif isinstance(right.node, Literal) and right.node.kind == "string":
        message += "; numbers and durations have no quotes, as in 200ms"
    return message


# -- words and literals ------------------------------------------------------------------------------------------------


def _word(token: Token) -> Field | Literal:
    text, position = str(token), token.start_pos or 0
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    name = ALIASES.get(text, text)
    if name in INTRINSICS:
        return Field(name, "intrinsic")
    scope, dot, rest = text.partition(".")
    if not dot:
        known = [*INTRINSICS, *ALIASES, *ENUMS, "true", "false", "nil"]
        hint = "" if ":" in text else f"; an attribute is written .{text} or span.{text}, and a text in quotes"
        raise Mistake(f"{text} is unknown{_near(text, known)}{hint}", position)
    if scope == "parent":
        raise Mistake(
            f"what a parent is like stands in braces of its own, as in {{ {rest} = 1 }} > {{ }}; "
            f"an attribute of this name is .{text}",
            position,
        )
    if scope not in (*SCOPES, ""):
        scope, rest = "", text
    if not rest:
        raise Mistake(f"the name of an attribute is expected after {text}", position + len(text))
    return Field(_QUOTED.sub(lambda found: _unescaped(found[1], position), rest), scope)  # type: ignore[arg-type]  # a scope


def _unescaped(text: str, position: int) -> str:
    def one(found: re.Match[str]) -> str:
        if (character := _ESCAPES.get(found[1])) is None:
            raise Mistake(
                f"\\{found[1]} is no escape of a string; write \\\\{found[1]}, or the string in backquotes",
                position + found.start(),
            )
        return character

    return _ESCAPED.sub(one, text)


def _near(word: str, known: tuple[str, ...] | list[str]) -> str:
    """What may have been meant, in whatever case it is written."""
    named = {name.lower(): name for name in reversed(known)}
    near = [word.lower()] if word.lower() in MISNOMERS else get_close_matches(word.lower(), named, 1)
    return f": did you mean {MISNOMERS.get(near[0]) or named[near[0]]}?" if near else ""
