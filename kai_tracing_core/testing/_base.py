"""What the parts of a provider's contract share: fixtures and capabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import pytest

from kai_tracing_core.attributes import SpanLimits
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.provider import RecordingProvider, TracingProvider
from kai_tracing_core.service import TracingService
from kai_tracing_core.span import Span
from kai_tracing_core.testing.suite import ContractSuite

__all__ = ["Contract"]

_SHUTDOWN_TIMEOUT = 0.05


class Recorder(SpanProcessor):
    """Keeps what ends, so that the suite can read the spans of providers that send them away."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def on_end(self, span: Span) -> None:
        """Keep the span."""
        self.spans.append(span)


class Contract(ContractSuite, contract=True):
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
