"""The settings: what `TRACING_*` can say, with its types and defaults.

A value is taken from the first place that has it: keyword, environment variable, `.env` in the working directory,
`OTEL_*` variable, `tracing.toml` or `[tool.kai_tracing]` of `pyproject.toml` there, default.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar

from kai_tracing_core.attributes import SpanLimits
from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.retry import RetryPolicy
from kai_tracing_core.settings_conversion import SecretStr, http_url
from kai_tracing_core.settings_model import Section, redact, setting
from kai_tracing_core.settings_sources import OtelVariables, Sources, Value, variable
from kai_tracing_core.settings_validation import build, check_names, core_leaves, section_leaves

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "BatchSettings",
    "LimitSettings",
    "ProviderSettings",
    "RedactionSettings",
    "RetrySettings",
    "SecretStr",
    "SpoolSettings",
    "TracingSettings",
    "http_url",
    "setting",
]

_RETRY = RetryPolicy()
_BATCH = BatchOptions()
_LIMITS = SpanLimits()


class ProviderSettings(Section):
    """A plugin's own section of the settings: `TRACING_<SECTION>__<FIELD>`, or a table of that name in the file.

    A section is flat. From the environment, a list is written `a,b` and a mapping `key=value,key2=value2`, whatever
    the field's item type. A field whose name says so (`password`, `token`, `headers`, …), one of type `SecretStr`, or
    one declared `setting(secret=True)` is a secret and is never shown.
    """

    section: ClassVar[str]
    """The section's name; that of the provider."""

    otel_names: ClassVar[OtelVariables] = {}
    """By field, the `OTEL_*` variables that are honoured for it; the first that is set wins."""

    @classmethod
    def from_otel(cls, field: str, variable: str, text: str) -> object:
        """The value that an `OTEL_*` variable gives its field, where unit or notation differ.

        A `ValueError`, here or from the field's own validation, is warned about and the variable ignored.
        """
        return text


S = TypeVar("S", bound=ProviderSettings)


class RetrySettings(Section):
    """How a failed request is repeated."""

    initial: float = setting(default=_RETRY.initial, gt=0, description="Seconds to wait before the first repetition.")
    maximum: float = setting(default=_RETRY.maximum, gt=0, description="Longest wait between two attempts, in seconds.")
    multiplier: float = setting(
        default=_RETRY.multiplier, ge=1, description="By what the wait grows after every attempt."
    )
    max_elapsed: float = setting(
        default=_RETRY.max_elapsed,
        ge=0,
        description="Seconds after which a batch is given up, all attempts and waits together.",
    )


class BatchSettings(Section):
    """How finished spans are queued and sent."""

    max_queue: int = setting(
        default=_BATCH.max_queue, gt=0, description="Spans that wait at most; further ones are dropped."
    )
    max_batch: int = setting(default=_BATCH.max_batch, gt=0, description="Spans that are sent together at most.")
    delay: float = setting(
        default=_BATCH.delay, ge=0, description="Seconds that a span waits at most for a full batch."
    )
    export_timeout: float = setting(
        default=_BATCH.export_timeout, gt=0, description="Seconds that one request may take."
    )
    exit_timeout: float = setting(
        default=_BATCH.exit_timeout, ge=0, description="Seconds for delivering what waits when the process ends."
    )
    slow: float = setting(
        default=_BATCH.slow,
        ge=0,
        description="Seconds from which a span counts as slow: a full queue keeps it, like a failed one.",
    )
    retry: RetrySettings = RetrySettings()

    def validate(self) -> None:
        """A batch has to fit the queue."""
        if self.max_batch > self.max_queue:
            raise ValueError(f"max_batch ({self.max_batch}) is more than max_queue ({self.max_queue}) ever holds")

    def options(self) -> BatchOptions:
        """The same as the processors want it."""
        return BatchOptions(**{**dict(self), "retry": RetryPolicy(**dict(self.retry))})


class LimitSettings(Section):
    """How much one span may hold; what goes over is dropped and counted on the span."""

    attributes: int = setting(default=_LIMITS.attributes, ge=0, description="Attributes of a span.")
    events: int = setting(default=_LIMITS.events, ge=0, description="Events of a span.")
    links: int = setting(default=_LIMITS.links, ge=0, description="Links of a span.")
    event_attributes: int = setting(default=_LIMITS.event_attributes, ge=0, description="Attributes of an event.")
    link_attributes: int = setting(default=_LIMITS.link_attributes, ge=0, description="Attributes of a link.")
    value_length: int | None = setting(
        default=_LIMITS.value_length,
        ge=0,
        description="Characters of a string value, which is cut there; no limit unless set.",
    )
    span_bytes: int | None = setting(
        default=_LIMITS.span_bytes, gt=0, description="Bytes of a span's contents, roughly; no limit unless set."
    )

    def limits(self) -> SpanLimits:
        """The same as the span wants it."""
        return SpanLimits(**dict(self))


class RedactionSettings(Section):
    """What is taken out of spans before they are queued."""

    enabled: bool = setting(default=True, description="Whether secrets are redacted before a span is queued.")
    keys: tuple[str, ...] = setting(
        default=(), description="Regular expressions searched in attribute keys, whose values are redacted as a whole."
    )
    patterns: tuple[str, ...] = setting(
        default=(),
        description="Regular expressions whose matches in values are redacted; one with a comma goes in the file.",
    )
    emails: bool = setting(default=False, description="Whether e-mail addresses are redacted, too.")
    cards: bool = setting(default=False, description="Whether payment card numbers are redacted, too.")


class SpoolSettings(Section):
    """Where spans wait on disk while the backend is down."""

    directory: PathLike[str] | None = setting(
        default=None, description="Directory of the spool; there is none unless this is set."
    )
    max_bytes: int = setting(
        default=64 * 1024 * 1024, gt=0, description="Bytes it may hold; the oldest batches go first."
    )


LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_MILLISECONDS = frozenset(("batch.delay", "batch.export_timeout"))


class TracingSettings(Section):
    """Everything that `TRACING_*` can say. Making one reads all sources; keywords go before them.

        TracingSettings(type="zipkin", service_name="shop", zipkin={"endpoint": "http://zipkin:9411/api/v2/spans"})

    Raises:
        ConfigurationError: a value is not valid, or a name is not known.
    """

    enabled: bool = setting(default=True, description="Whether spans are recorded.")
    type: str = setting(
        default="noop", min_length=1, description="The provider, by its name; `kai-tracing providers` lists them."
    )
    service_name: str = setting(default="unknown_service", min_length=1, description="What this service is called.")
    resource_attributes: dict[str, str] = setting(
        default={},
        description="Further attributes of the service, `key=value,key2=value2`, percent-encoded; all sources add up.",
    )
    sampler: str | dict[str, Any] = setting(
        default="parentbased_always_on",
        min_length=1,
        description="Which traces are recorded, by the sampler's name; `kai-tracing samplers` lists them. "
        "In the file also a table, whose `type` is the name.",
    )
    sampler_arg: str | None = setting(default=None, description="The sampler's argument, such as a probability.")
    propagators: tuple[str, ...] | None = setting(
        default=None,
        description="Formats of the trace context in request headers, first to last; `none` for none at all. "
        "The provider's own unless set; `kai-tracing propagators` lists them.",
    )
    baggage_attributes: tuple[str, ...] = setting(
        default=(), description="Baggage keys that become attributes of every span."
    )
    baggage_allowed_hosts: tuple[str, ...] | None = setting(
        default=None, description="Hosts that baggage may be sent to; any host unless set."
    )
    telemetry: tuple[str, ...] = setting(
        default=(),
        description="Where rate, errors and duration of operations are reported: `prometheus`, `opentelemetry`, "
        "`inmemory`, or a plugin's.",
    )
    log_events: bool = setting(
        default=False, description="Whether log records become events of the span that was current."
    )
    log_events_level: LogLevel = setting(default="WARNING", description="Level from which they do.")
    asyncio: bool = setting(
        default=False,
        description="Whether spans say how long their asyncio task ran and waited, and what held up the event loop.",
    )
    asyncio_stall: float = setting(
        default=0.1, gt=0, description="Seconds without a pause from which a task's step is recorded as a stall."
    )
    asyncio_gc_pause: float = setting(
        default=0.01, gt=0, description="Seconds from which a garbage collection is recorded."
    )
    limits: LimitSettings = LimitSettings()
    batch: BatchSettings = BatchSettings()
    redaction: RedactionSettings = RedactionSettings()
    spool: SpoolSettings = SpoolSettings()

    otel_names: ClassVar[OtelVariables] = {
        "enabled": ("OTEL_SDK_DISABLED",),
        "service_name": ("OTEL_SERVICE_NAME",),
        "resource_attributes": ("OTEL_RESOURCE_ATTRIBUTES",),
        "sampler": ("OTEL_TRACES_SAMPLER",),
        "sampler_arg": ("OTEL_TRACES_SAMPLER_ARG",),
        "propagators": ("OTEL_PROPAGATORS",),
        "limits.attributes": ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
        "limits.events": ("OTEL_SPAN_EVENT_COUNT_LIMIT",),
        "limits.links": ("OTEL_SPAN_LINK_COUNT_LIMIT",),
        "limits.event_attributes": ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
        "limits.link_attributes": ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
        "limits.value_length": ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
        "batch.max_queue": ("OTEL_BSP_MAX_QUEUE_SIZE",),
        "batch.max_batch": ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE",),
        "batch.delay": ("OTEL_BSP_SCHEDULE_DELAY",),
        "batch.export_timeout": ("OTEL_BSP_EXPORT_TIMEOUT",),
    }

    _sources: Sources
    _values: dict[str, Value]

    def __init__(self, **keywords: Any) -> None:
        self._load(Sources(keywords))

    @classmethod
    def from_sources(cls, sources: Sources) -> Self:
        """Make one from other places than the process's own environment and working directory."""
        settings = cls.__new__(cls)
        settings._load(sources)
        return settings

    def _load(self, sources: Sources) -> None:
        leaves = core_leaves(type(self), sources)
        check_names(type(self), leaves)
        vars(self).update(_sources=sources, _values=build(self, leaves))

    @classmethod
    def from_otel(cls, setting: str, variable: str, text: str) -> object:
        """What an `OTEL_*` variable means here: other units, other notations (environment variable specification)."""
        if setting == "enabled":
            # Anything but "true", in any case, is false; that it warns about, unless it is "false".
            if text.lower() not in ("true", "false"):
                raise ValueError('should be "true" or "false"')
            return text.lower() != "true"
        if setting in _MILLISECONDS:
            return float(text) / 1000
        return text

    def replace(self, **keywords: Any) -> Self:
        """The same settings with these keywords on top."""
        return self.from_sources(self._sources.override(keywords))

    def section(self, model: builtins.type[S]) -> S:
        """The section that `model` describes, from all sources.

        Raises:
            ConfigurationError: one of its values is not valid, or one of its names is not known.
        """
        leaves = section_leaves(model, self._sources)
        check_names(model, leaves, model.section)
        made = model.__new__(model)
        self._values.update(build(made, leaves, model.section))
        return made

    def sources(self) -> Mapping[str, Value]:
        """By setting (`batch.delay`, `zipkin.endpoint`) its value and where that came from.

        Those of the core, and of every section that was asked for. Secrets are in it, and marked.
        """
        return dict(self._values)

    def describe(self, setting: str) -> str:
        """A setting with its value and where that came from, for messages."""
        value = self._values[setting]
        return f"{variable(setting)} = {redact(value.value, secret=value.secret)!r} ({value.source})"

    def is_from_otel(self, setting: str) -> bool:
        """Whether an `OTEL_*` variable gave the value, so that a bad one is ignored with a warning."""
        return self._values[setting].from_otel

    def without_otel(self, setting: str) -> Self:
        """The same settings without what the `OTEL_*` variables say about one of them."""
        return self.from_sources(self._sources.without_otel(setting))
