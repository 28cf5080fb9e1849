"""What is recorded of an exception, and which ones are no failure."""

from __future__ import annotations

__all__ = ["describe", "is_failure", "qualified_name", "stack_trace"]

_STACK_FRAMES = 100
_DELIBERATE = frozenset(("CancelledError", "Cancelled"))


def is_failure(exception: BaseException) -> bool:
    """Whether an exception that leaves a span means that the operation failed.

    Closing a generator, cancelling a task (asyncio's, trio's and anyio's exceptions) and `SystemExit` with code 0 or
    None do not.
    """
    if isinstance(exception, Exception):
        return True
    if isinstance(exception, SystemExit):
        return exception.code not in (0, None)
    # By name, since importing asyncio only to compare would double the time that importing this package takes.
    return not isinstance(exception, GeneratorExit) and type(exception).__name__ not in _DELIBERATE


def qualified_name(kind: type) -> str:
    """The class's name with its module, which is left out for built-in ones."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def describe(exception: BaseException) -> str:
    """The exception's message; never raises, even when its `__str__` does."""
    try:
        return str(exception)
    except Exception:
        return f"<{qualified_name(type(exception))} without a message: its __str__ raises>"


def stack_trace(exception: BaseException) -> str:
    """The stack trace with its causes, at most 100 frames each; never raises."""
    import traceback  # which brings much along

    try:
        return "".join(traceback.format_exception(type(exception), exception, exception.__traceback__, _STACK_FRAMES))
    except Exception:
        return ""
