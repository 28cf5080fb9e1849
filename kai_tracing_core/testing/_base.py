"""What the parts of the contract suite share: fixtures, capabilities, and the guard against silenced tests."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import pytest

from kai_tracing_core.attributes import SpanLimits
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.provider import RecordingProvider, TracingProvider
from kai_tracing_core.service import TracingService
from kai_tracing_core.span import Span

__all__ = ["Contract", "needs"]

F = TypeVar("F", bound=Callable[..., Any])

_SHUTDOWN_TIMEOUT = 0.05


def needs(capability: str, value: bool = True) -> Callable[[F], F]:
    """Mark a contract test that holds only for providers whose class attribute `capability` is `value`."""

    def mark(test: F) -> F:
        vars(test).setdefault("needs", {})[capability] = value
        return test

    return mark


class Recorder(SpanProcessor):
    """Keeps what ends, so that the suite can read the spans of providers that send them away."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def on_end(self, span: Span) -> None:
        """Keep the span."""
        self.spans.append(span)


class Contract:
    """The base of the suite: override the fixture `provider`, and `finished` where that is necessary.

    What a provider cannot do by its nature is denied by a class attribute; the tests of it are then not collected,
    and others make sure that it is not there.
    """

    records: ClassVar[bool] = True
    """Whether spans are recorded. False for a provider that only passes the context on."""

    w3c: ClassVar[bool] = True
    """Whether, as it is configured here, it reads and writes W3C Trace Context's `traceparent`."""

    limits: ClassVar[SpanLimits] = SpanLimits()
    """What one span may hold, as the provider is configured here."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not _is_ours(cls):
            for name, test in _contract_tests(cls).items():
                if name not in vars(cls):
                    setattr(cls, name, test if _wanted(cls, test) else None)

    @pytest.fixture
    def provider(self) -> TracingProvider:
        """A provider ready for use, its default configuration, sending nowhere or to where nobody listens."""
        raise NotImplementedError("a contract test class overrides the fixture `provider`")

    def finished(self, provider: TracingProvider) -> Sequence[Span]:
        """The spans that ended since the test began, in the order of their ends.

        A `RecordingProvider` is listened to; for any other this must be overridden.
        """
        if not isinstance(provider, RecordingProvider):
            raise NotImplementedError("override `finished` to say how the provider's finished spans are read")
        recorders = [item for item in provider.pipeline.processors if isinstance(item, Recorder)]
        return recorders[-1].spans

    @pytest.fixture(autouse=True)
    def _watch(self, provider: TracingProvider) -> Iterator[None]:
        if isinstance(provider, RecordingProvider):
            provider.pipeline.add_processor(Recorder())
        yield
        provider.shutdown(_SHUTDOWN_TIMEOUT)

    @pytest.fixture
    def service(self, provider: TracingProvider) -> TracingService:
        """A service of its own over the provider."""
        return TracingService(provider)

    def only(self, provider: TracingProvider) -> Span:
        """The one span that ended."""
        (span,) = self.finished(provider)
        return span

    def named(self, provider: TracingProvider) -> dict[str, Span]:
        """What ended, by name."""
        return {span.name: span for span in self.finished(provider)}

    def test_no_contract_test_is_silenced(self) -> None:
        """Every test of the contract is there as it was written: not overridden, deleted, skipped or made to fail."""
        silenced = [
            name
            for name, test in _contract_tests(type(self)).items()
            if _wanted(type(self), test) and inspect.getattr_static(self, name, None) is not test
        ]
        assert not silenced, f"these contract tests are overridden; deny a capability instead: {silenced}"
        marks = getattr(type(self), "pytestmark", ())
        marks = {mark.name for mark in (marks if isinstance(marks, (list, tuple)) else (marks,))}
        assert not marks & {"skip", "skipif", "xfail"}, "contract tests may be neither skipped nor expected to fail"


def _is_ours(cls: type) -> bool:
    return cls.__module__.rpartition(".")[0] == __name__.rpartition(".")[0]


def _contract_tests(cls: type) -> dict[str, Any]:
    """The tests that the modules of this package define for `cls`, by name."""
    return {
        name: value
        for base in reversed(cls.__mro__)
        if _is_ours(base)
        for name, value in vars(base).items()
        if name.startswith("test_")
    }


def _wanted(cls: type, test: Any) -> bool:
    return all(getattr(cls, capability) is value for capability, value in vars(test).get("needs", {}).items())
