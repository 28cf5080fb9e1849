"""What went wrong, for answers: a status, a message and what else machines may want to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from kai_tracing_backend.api.parameters import ParameterError
from kai_tracing_backend.language.errors import QueryError
from kai_tracing_backend.storage.contract import (
    QueryCancelledError,
    QueryTimeoutError,
    QueryTooLargeError,
    StoreError,
)

__all__ = ["KNOWN", "NotFoundError", "Problem", "Refuse", "answering", "problem_of"]

_LEFT = 499  # nginx's "client closed request"; nobody reads it


class NotFoundError(Exception):
    """What was asked for is not there."""


class Problem(NamedTuple):
    """What an answer says of an error."""

    status: int
    message: str
    details: Mapping[str, Any]
    headers: Mapping[str, str]


KNOWN: tuple[type[Exception], ...] = (NotFoundError, ParameterError, QueryError, StoreError)
"""Errors that `problem_of` explains; others are faults of this package."""


def problem_of(error: Exception) -> Problem:
    """What to answer to an error, one of `KNOWN`."""
    if isinstance(error, NotFoundError):
        return Problem(HTTPStatus.NOT_FOUND, str(error), {}, {})
    if isinstance(error, QueryError):
        place = {"parameter": "q", "line": error.line, "column": error.column}
        return Problem(HTTPStatus.BAD_REQUEST, str(error), place, {})
    if isinstance(error, ParameterError):
        return Problem(HTTPStatus.BAD_REQUEST, str(error), {"parameter": error.parameter}, {})
    if isinstance(error, QueryTooLargeError):
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), {}, {})
    if isinstance(error, QueryTimeoutError):
        return Problem(HTTPStatus.GATEWAY_TIMEOUT, str(error), {}, {})
    if isinstance(error, QueryCancelledError):
        return Problem(_LEFT, str(error), {}, {})
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {}, {"Retry-After": "5"})


Refuse = Callable[[Problem], Response]
"""How an API words an error."""


def answering(refuse: Refuse) -> Callable[[Callable[[Request], Response]], Callable[[Request], Response]]:
    """A decorator for handlers of one API: what is wrong with a request is answered in its words."""

    def decorate(handler: Callable[[Request], Response]) -> Callable[[Request], Response]:
        @wraps(handler)
        def handle(request: Request) -> Response:
            try:
                return handler(request)
            except KNOWN as error:
                return refuse(problem_of(error))

        return handle

    return decorate
