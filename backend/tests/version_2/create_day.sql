-- Version 2 of a day's file.
CREATE TABLE meta (version INTEGER NOT NULL, id UUID NOT NULL);
CREATE TABLE spans (
    -- Which run of 8,192 spans, as they were written, it is in: what the indexes below point to.
    segment INTEGER NOT NULL,
    trace_high UBIGINT NOT NULL,
    trace_low UBIGINT NOT NULL,
    span_id UBIGINT NOT NULL,
    parent_id UBIGINT NOT NULL,
    start_time BIGINT NOT NULL,
    duration BIGINT NOT NULL,
    name VARCHAR NOT NULL,
    kind UTINYINT NOT NULL,
    status UTINYINT NOT NULL,
    status_message VARCHAR NOT NULL,
    trace_state VARCHAR NOT NULL,
    flags UINTEGER NOT NULL,
    adjusted_count DOUBLE NOT NULL,
    events VARCHAR,
    links VARCHAR,
    dropped_attributes UINTEGER NOT NULL,
    dropped_events UINTEGER NOT NULL,
    dropped_links UINTEGER NOT NULL,
    service VARCHAR NOT NULL,
    resource INTEGER NOT NULL,
    scope INTEGER NOT NULL,
    "http.request.method" VARCHAR,
    "http.response.status_code" BIGINT,
    "http.route" VARCHAR,
    "url.path" VARCHAR,
    "url.full" VARCHAR,
    "url.scheme" VARCHAR,
    "server.address" VARCHAR,
    "server.port" BIGINT,
    "client.address" VARCHAR,
    "network.peer.address" VARCHAR,
    "network.protocol.version" VARCHAR,
    "user_agent.original" VARCHAR,
    "error.type" VARCHAR,
    "db.system.name" VARCHAR,
    "db.namespace" VARCHAR,
    "db.operation.name" VARCHAR,
    "db.collection.name" VARCHAR,
    "db.query.text" VARCHAR,
    "rpc.system" VARCHAR,
    "rpc.service" VARCHAR,
    "rpc.method" VARCHAR,
    "messaging.system" VARCHAR,
    "messaging.destination.name" VARCHAR,
    "peer.service" VARCHAR,
    "http.method" VARCHAR,
    "http.status_code" BIGINT,
    "http.url" VARCHAR,
    "http.target" VARCHAR,
    "db.system" VARCHAR,
    "db.statement" VARCHAR,
    attributes_string MAP(VARCHAR, VARCHAR),
    attributes_int MAP(VARCHAR, BIGINT),
    attributes_double MAP(VARCHAR, DOUBLE),
    attributes_bool MAP(VARCHAR, BOOLEAN),
    attributes_other MAP(VARCHAR, VARCHAR)
);
-- What spans share. Small numbers in the spans, since a long text would not be kept once only.
CREATE TABLE resources (id INTEGER NOT NULL, text VARCHAR NOT NULL);
CREATE TABLE scopes (id INTEGER NOT NULL, text VARCHAR NOT NULL);
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
-- Rate, errors and durations of an operation with a status; buckets and weights are a DDSketch. `rates_recent` has a row
-- for each commit and minute. From there they are added to `rates`, by the minute, and to `rates_long`, by the hour and
-- the day (`width` in minutes), which both have all that is in them.
CREATE TABLE rates_recent (
    minute INTEGER NOT NULL,
    service VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    kind UTINYINT NOT NULL,
    status UTINYINT NOT NULL,
    spans BIGINT NOT NULL,
    weight DOUBLE NOT NULL,
    total_duration DOUBLE NOT NULL,
    min_duration BIGINT NOT NULL,
    max_duration BIGINT NOT NULL,
    buckets SMALLINT[] NOT NULL,
    weights DOUBLE[] NOT NULL
);
CREATE TABLE rates AS FROM rates_recent;
CREATE TABLE rates_long AS SELECT 0::SMALLINT AS width, * FROM rates_recent;
-- Who calls whom; a row that takes back what an earlier one counted has negative numbers.
CREATE TABLE edges_recent (
    minute INTEGER NOT NULL,
    parent VARCHAR NOT NULL,
    parent_type VARCHAR NOT NULL,
    child VARCHAR NOT NULL,
    child_type VARCHAR NOT NULL,
    calls BIGINT NOT NULL,
    weight DOUBLE NOT NULL,
    errors BIGINT NOT NULL
);
CREATE TABLE edges AS FROM edges_recent;
INSERT INTO meta VALUES (2, uuid());
