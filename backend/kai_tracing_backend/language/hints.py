"""What somebody may have meant who wrote a query as other languages have it."""

from __future__ import annotations

import re

__all__ = ["hint"]

_CALLS = r"count|avg|min|max|sum"
_SLIPS = [
    # how the text before the place ends, how the text there begins, what is said
    (r"^\s*\(?\s*$", r"$", "an empty query finds nothing; { } finds every trace"),
    (r"^[\s(]*$", r"[^\s({]", "conditions stand in braces, as in { status = error }"),
    (r"[^=!<>]=$", r"=", "equal is one ="),
    (r"=$", r"[<>]", "the = comes last, as in <= and >="),
    (r"<$", r">", "different is !="),
    (r"\)\s*[<>=!]+\s*[^{}|]+$", r"&&", "what is to be true, too, is a stage of its own: | count() > 3 | count() < 9"),
    (r"", r"(?i:and)\b|&(?!&)", "and is written &&"),
    (r"", r"(?i:or)\b", "or is written ||"),
    (r"{[^}]*$", r"\|", "or is written ||"),
    (r"\([^()]*({[^}]*})[^()]*$", r"\|", "stages stand behind all spansets: ({ status = error } && { }) | count() > 1"),
    (r"{[^}]*$", r"[%^]", "there are + - * and /"),
    (r"{[^}]*-\s*$", r"[A-Za-z_.(]", "a minus in front of a field is written 0 - duration"),
    (rf"\|\s*({_CALLS})\([^()]*\)\s*$|\)\s*[<>=!]+\s*\S+\s*$", r"[-+*/%^]", "what stages give cannot be computed with"),
    (r"\b(?i:not)\s+$", r"", "not is written !, as in !(status = error)"),
    (r"", r"(?i:in)\b", 'one of several is written =~ "a|b"'),
    (r"", r"(?i:like|contains|matches)\b", 'a part of a text is written =~ ".*part.*"'),
    (r"[0-9]\s+$", r"(ns|us|µs|ms|s|m|h)\b", "a duration has no space in it, as in 200ms"),
    (rf"\|\s*({_CALLS})\s*$", r"[<>=!]", "this is a function, as in count() > 3 or avg(duration) > 1s"),
    (r"[})]\s*$", rf"({_CALLS}|by|select|coalesce)\b", "it stands after a |, as in { status = error } | count() > 3"),
    (r"", r"with\b", "leave it out: the most recent traces always come first"),
    (r"[})]\s*$", r"--", "an option stands outside of the query's quotes"),
]
_COMPILED = [(re.compile(before), re.compile(there), said) for before, there, said in _SLIPS]
_LOOKED_BACK = 50  # characters


def hint(text: str, position: int) -> str | None:
    """What to write instead of what the parser cannot take at this place; None where nobody can guess."""
    begins = max(0, position - _LOOKED_BACK)
    for before, there, said in _COMPILED:
        if there.match(text, position) and before.search(text, begins, position):
            return said
    return None
