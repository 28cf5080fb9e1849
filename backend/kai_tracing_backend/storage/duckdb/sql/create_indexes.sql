-- How many spans a segment got and between which starts: one row for each segment and commit.
CREATE TABLE segments (
    segment INTEGER NOT NULL,
    spans INTEGER NOT NULL,
    first_start BIGINT NOT NULL,
    last_start BIGINT NOT NULL
);
-- In which segments a trace is: one row for each trace, segment and commit.
CREATE TABLE traces (
    trace_high UBIGINT NOT NULL,
    trace_low UBIGINT NOT NULL,
    segment INTEGER NOT NULL
);
-- In which segments an attribute has a value; see attribute_index.py. New ones first come into `attributes_recent`,
-- and from there in runs, each by fingerprint, into `attribute_index`.
CREATE TABLE attributes_recent (fingerprint UINTEGER NOT NULL, segment INTEGER NOT NULL);
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
