-- Spans of the same traces that were there before.
CREATE OR REPLACE TEMP TABLE relatives (
    trace_high UBIGINT,
    trace_low UBIGINT,
    span_id UBIGINT,
    start_time BIGINT,
    kind UTINYINT,
    parent_id UBIGINT,
    service VARCHAR,
    status UTINYINT,
    adjusted_count DOUBLE,
    flags UINTEGER,
    peer STRUCT(type VARCHAR, name VARCHAR)
)
;
CREATE OR REPLACE TEMP TABLE old_links (
    trace_high UBIGINT,
    trace_low UBIGINT,
    span_id UBIGINT,
    minute INTEGER,
    service VARCHAR,
    weight DOUBLE,
    errors BIGINT
)
