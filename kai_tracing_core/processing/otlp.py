"""OTLP: spans as opentelemetry-proto's messages, and their way over HTTP (opentelemetry-proto, docs/specification.md).

opentelemetry-proto is imported when the first request is encoded; providers that use this depend on it, the core
does not.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from time import sleep
from typing import TYPE_CHECKING, Any, NamedTuple

from kai_tracing_core.attributes import SpanLimits, clean_attributes
from kai_tracing_core.processing.http import HttpOptions, HttpSender
from kai_tracing_core.processing.processor import PayloadExporter
from kai_tracing_core.processing.tags import ADJUSTED_COUNT, untold_count
from kai_tracing_core.span import Span
from kai_tracing_core.span_parts import Link, Rare, Scope, SpanKind
from kai_tracing_core.trace_context import PARENT_REMOTE, WIRE_FLAGS

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["OtlpHttpExporter", "encode_json", "encode_request", "own_scope", "read_refusal"]

logger = logging.getLogger(__name__)

_SLICE = 32
"""After so many spans the encoder lets other threads run: their stalls stay in the low milliseconds."""

# trace.proto, SpanFlags: whether the parent (of a link: the target) is remote is known, and is so.
_REMOTE_KNOWN = 0x100
_REMOTE = 0x200
_EXPORTED = WIRE_FLAGS | PARENT_REMOTE
_FLAGS = {
    wire | remote: wire | _REMOTE_KNOWN | (_REMOTE if remote else 0)
    for wire in range(WIRE_FLAGS + 1)
    for remote in (0, PARENT_REMOTE)
}
_KINDS = tuple(range(1, len(SpanKind) + 1))
"""OTLP's numbers of the kinds, which begin with `UNSPECIFIED`."""
_DISTRIBUTION = "kai-tracing-core"


class _OwnScope(NamedTuple):
    name: str
    version: str
    schema_url: str
    attributes: Mapping[str, Any]


@functools.cache
def own_scope() -> Scope:
    """The scope of spans that this package's own API made."""
    try:
        version = metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:  # run from a copied source tree
        version = ""
    return _OwnScope("kai_tracing_core", version, "", {})


@functools.cache
def _messages() -> Any:
    try:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
    except ImportError as error:
        raise ImportError(
            "OTLP needs opentelemetry-proto, which comes with the providers that speak it: "
            'pip install "kai-tracing-core[opentelemetry]"'
        ) from error
    return trace_service_pb2


def encode_request(spans: Sequence[Span]) -> ExportTraceServiceRequest:
    """The spans as an OTLP request, grouped by resource and by scope.

    Raises:
        ImportError: opentelemetry-proto is not installed; the message says what to install.
    """
    request = _messages().ExportTraceServiceRequest()
    resources: dict[int, Any] = {}
    groups: dict[tuple[int, int], Any] = {}
    last_resource: Any = None
    last_scope: Any = None
    target: Any = None
    for index, span in enumerate(spans):
        if index % _SLICE == 0 and index:
            sleep(0)
        resource = span._sink.resource
        scope = span._scope
        if resource is not last_resource or scope is not last_scope or target is None:
            last_resource, last_scope = resource, scope
            key = id(resource), id(scope)
            target = groups.get(key)
            if target is None:
                target = groups[key] = _group(request, resources, resource, scope or own_scope())
        _fill(target.add(), span)
    return request  # type: ignore[no-any-return]


def _group(request: Any, resources: dict[int, Any], resource: Mapping[str, Any], scope: Scope) -> Any:
    of_resource = resources.get(id(resource))
    if of_resource is None:
        of_resource = resources[id(resource)] = request.resource_spans.add()
        of_resource.schema_url = getattr(resource, "schema_url", "")
        of_resource.resource.dropped_attributes_count = _attributes(of_resource.resource.attributes, resource)
    group = of_resource.scope_spans.add()
    group.schema_url = scope.schema_url or ""
    group.scope.name = scope.name
    group.scope.version = scope.version or ""
    group.scope.dropped_attributes_count = _attributes(group.scope.attributes, scope.attributes or {})
    return group.spans


def _fill(message: Any, span: Span) -> None:
    message.trace_id = span._trace_id.to_bytes(16, "big")
    message.span_id = span._span_id.to_bytes(8, "big")
    if span._parent_id:
        message.parent_span_id = span._parent_id.to_bytes(8, "big")
    message.flags = _FLAGS[span._flags & _EXPORTED]
    name = span.name
    message.name = name if name.isascii() else _text(name)
    message.kind = _KINDS[span._kind]
    message.start_time_unix_nano = span._start
    message.end_time_unix_nano = span._end
    if span._trace_state:
        message.trace_state = _text(span._trace_state)
    if span._status:
        message.status.code = span._status
    limits = span._sink.limits
    length = limits.value_length
    dropped = _attributes(message.attributes, span._attributes, limits.attributes, length) if span._attributes else 0
    if span._rare is not None:
        _fill_rare(message, span._rare, limits)
        dropped += span._rare.dropped[0]
    if dropped:
        message.dropped_attributes_count = dropped
    if span._weight is not None and (count := untold_count(span)) is not None:
        entry = message.attributes.add()
        entry.key = ADJUSTED_COUNT
        entry.value.double_value = count


def _fill_rare(message: Any, rare: Rare, limits: SpanLimits) -> None:
    if rare.message:
        message.status.message = _text(rare.message)
    _, message.dropped_events_count, message.dropped_links_count = rare.dropped
    length = limits.value_length
    for name, at, attributes in rare.events or ():
        event = message.events.add()
        event.name = _text(name)
        event.time_unix_nano = at
        event.dropped_attributes_count = _attributes(event.attributes, attributes, limits.event_attributes, length)
    for link in rare.links or ():
        _fill_link(message.links.add(), link, limits.link_attributes, length)


def _fill_link(message: Any, link: Link, limit: int, length: int | None) -> None:
    context = link.context
    message.trace_id = context._trace_id.to_bytes(16, "big")
    message.span_id = context._span_id.to_bytes(8, "big")
    message.trace_state = _text(context._trace_state)
    message.flags = context._flags & WIRE_FLAGS | (_REMOTE_KNOWN | _REMOTE if context.is_remote else _REMOTE_KNOWN)
    message.dropped_attributes_count = _attributes(message.attributes, link.attributes, limit, length)


def _attributes(  # noqa: C901 - as above
    target: Any, attributes: Mapping[str, Any], limit: int = 1 << 31, length: int | None = None, clean: bool = False
) -> int:
    """Add the attributes to a repeated KeyValue field; returns how many could not be.

    Most attributes are fit for export as they are, so that is tried first: what protobuf refuses, and what is no
    scalar, sends all of them through `clean_attributes`, once.
    """
    if clean or length is not None or len(attributes) > limit:
        attributes, dropped = clean_attributes(attributes, limit, length)
        clean = True
    else:
        dropped = 0
    add = target.add
    try:
        for key, value in attributes.items():
            kind = type(value)
            entry = add()
            entry.key = key
            if kind is str:
                entry.value.string_value = value
            elif kind is bool:
                entry.value.bool_value = value
            elif kind is int:
                entry.value.int_value = value
            elif kind is float:
                entry.value.double_value = value
            elif clean and kind is list:
                _array(entry.value.array_value, value)
            else:
                raise TypeError(kind)  # noqa: TRY301 - the same remedy as for what protobuf raises
        if "" in attributes:
            raise ValueError("an empty key")  # noqa: TRY301 - as above
    except (TypeError, ValueError):
        if clean:
            raise
        del target[:]
        return _attributes(target, attributes, limit, length, clean=True)
    return dropped


def _array(target: Any, values: Iterable[Any]) -> None:
    """Add the items of a cleaned sequence, which are scalars of one type."""
    target.SetInParent()  # an empty one is an array all the same, and not a value of no type
    for value in values:
        item = target.values.add()
        kind = type(value)
        if kind is str:
            item.string_value = value
        elif kind is bool:
            item.bool_value = value
        elif kind is int:
            item.int_value = value
        else:
            item.double_value = value


def _text(value: Any) -> str:
    """A string that protobuf takes: of str, without lone surrogates."""
    if type(value) is str and value.isascii():
        return value
    return str(value).encode("utf-8", "replace").decode()


def encode_json(request: ExportTraceServiceRequest) -> bytes:
    """The request in OTLP's JSON: ids in hexadecimal, enumerations as integers, 64-bit integers as strings."""
    from google.protobuf.json_format import MessageToDict

    document = MessageToDict(request, use_integers_for_enums=True)
    for of_resource in document.get("resourceSpans", ()):
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                for holder in (span, *span.get("links", ())):
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if name in holder:
                            holder[name] = base64.b64decode(holder[name]).hex()
    return json.dumps(document, separators=(",", ":")).encode()


def read_refusal(answer: Any) -> int:
    """How many spans an `ExportTraceServiceResponse` says were refused for good ("Partial Success")."""
    partial = answer.partial_success
    if partial.error_message:
        logger.warning("the collector refused %d spans: %s", partial.rejected_spans, partial.error_message)
    return max(0, int(partial.rejected_spans))


class OtlpHttpExporter(PayloadExporter):
    """Posts OTLP requests, protobuf or (`json=True`) JSON, to `options.url`, which ends with `/v1/traces`."""

    def __init__(self, options: HttpOptions, *, json: bool = False) -> None:
        self.sender = HttpSender(options)
        self._json = json
        self.format = "json" if json else "protobuf"

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as a request's body."""
        request = encode_request(spans)
        return encode_json(request) if self._json else request.SerializeToString()

    def send(self, payload: bytes, timeout: float) -> int:
        """Post the body; returns how many spans the collector refused."""
        answer = self.sender.post(payload, "application/json" if self._json else "application/x-protobuf", timeout)
        return self._refused(answer) if answer else 0

    def _refused(self, answer: bytes) -> int:
        response = _messages().ExportTraceServiceResponse()
        try:
            # The answer has the request's encoding (section "OTLP/HTTP Response").
            if self._json:
                from google.protobuf.json_format import Parse

                Parse(answer, response, ignore_unknown_fields=True)
            else:
                response.ParseFromString(answer)
        except Exception as error:
            # The status said success: what else the collector says does not make the spans less delivered.
            logger.debug("%s: unreadable answer: %s", self.sender.options.url, error)
            return 0
        return read_refusal(response)

    def after_fork(self) -> None:
        """Let go of the parent's connection."""
        self.sender.after_fork()

    def shutdown(self) -> None:
        """Close the connection."""
        self.sender.close()
