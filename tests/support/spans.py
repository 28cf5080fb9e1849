"""Spans of any shape, for property tests of the backend."""

from __future__ import annotations

from hypothesis import strategies as st
from kai_tracing_backend.columns import PROMOTED
from kai_tracing_backend.model import Scope, SpanEvent, SpanLink, StoredSpan
from kai_tracing_backend.testing.store_contract import DAY, NOON

TEXT = st.text(max_size=12)
SCALARS = st.one_of(
    TEXT, st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False), st.binary(max_size=8)
)
VALUES = st.recursive(
    st.one_of(SCALARS, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(st.one_of(TEXT, st.sampled_from(sorted(PROMOTED))), VALUES, max_size=6)
IDS = st.integers(1, (1 << 64) - 1).map("{:016x}".format)
COUNTS = st.integers(0, (1 << 32) - 1)
SPANS = st.builds(
    StoredSpan,
    trace_id=st.integers(1, (1 << 128) - 1).map("{:032x}".format),
    span_id=IDS,
    parent_id=st.none() | IDS,
    name=TEXT,
    service=TEXT,
    start_time=st.integers(NOON, NOON + DAY),
    duration=st.integers(0, 1 << 55),
    kind=st.integers(0, 5),
    status=st.integers(0, 2),
    status_message=TEXT,
    trace_state=TEXT,
    flags=COUNTS,
    adjusted_count=st.floats(1, 1e6),
    attributes=ATTRIBUTES,
    events=st.lists(st.builds(SpanEvent, st.integers(0, 1 << 62), TEXT, ATTRIBUTES, COUNTS), max_size=2),
    links=st.lists(
        st.builds(SpanLink, st.just("a" * 32), IDS, TEXT, ATTRIBUTES, COUNTS, COUNTS),
        max_size=2,
    ),
    resource=ATTRIBUTES,
    resource_schema_url=TEXT,
    scope=st.builds(Scope, TEXT, TEXT, ATTRIBUTES, TEXT),
    dropped_attributes=COUNTS,
    dropped_events=COUNTS,
    dropped_links=COUNTS,
)
