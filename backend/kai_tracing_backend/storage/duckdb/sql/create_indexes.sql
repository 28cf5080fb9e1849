-- How many spans a segment has and between which starts.
CREATE TABLE segments (
    segment INTEGER NOT NULL,
    spans INTEGER NOT NULL,
    first_start BIGINT NOT NULL,
    last_start BIGINT NOT NULL
);
-- In which segments a trace is.
CREATE TABLE traces_settled (
    trace_high UBIGINT NOT NULL,
    trace_low UBIGINT NOT NULL,
    segment INTEGER NOT NULL
);
-- In which segments an attribute has a value; see attribute_index.py.
CREATE TABLE attribute_index (fingerprint UINTEGER NOT NULL, segment INTEGER NOT NULL);
-- Consumers that point to a producer which has not come yet.
CREATE TABLE awaited (
    trace_high UBIGINT NOT NULL,
    trace_low UBIGINT NOT NULL,
    span_id UBIGINT NOT NULL,
    minute INTEGER NOT NULL,
    service VARCHAR NOT NULL,
    weight DOUBLE NOT NULL,
    errors BIGINT NOT NULL
);
