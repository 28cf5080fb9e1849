"""Attribute values in OTLP, where protobuf's defaults could swallow them."""

from __future__ import annotations

from typing import Any

import pytest
from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core.processing.otlp import read_request
from kai_tracing_core.processing.otlp_encoding import encode_request


@pytest.mark.parametrize(
    ("value", "kind"),
    [("", "string_value"), (False, "bool_value"), (0, "int_value"), (0.0, "double_value"), ([], "array_value")],
)
def test_an_empty_value_keeps_its_type(value: Any, kind: str) -> None:
    """A default value is sent as what it is, not as an AnyValue without any: servers drop or misread those."""
    provider = InMemoryProvider()
    with provider.span("work", attributes={"value": value, "list": [1]}) as span:
        pass
    (attribute, _) = read_request(encode_request([span])).resource_spans[0].scope_spans[0].spans[0].attributes
    assert attribute.value.WhichOneof("value") == kind
