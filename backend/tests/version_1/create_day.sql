-- Version 1 of a day's file.
CREATE TABLE meta (version INTEGER NOT NULL, id UUID NOT NULL);
CREATE TABLE spans (
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
-- Where in the file a trace is: one row for each trace and commit.
CREATE TABLE traces (
    trace_high UBIGINT NOT NULL,
    trace_low UBIGINT NOT NULL,
    first_start BIGINT NOT NULL,
    last_start BIGINT NOT NULL
);
-- One row for each operation, status, minute and commit; buckets and weights are a DDSketch.
CREATE TABLE rates (
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
-- One row for each pair of services, minute and commit.
CREATE TABLE edges (
    minute INTEGER NOT NULL,
    parent VARCHAR NOT NULL,
    child VARCHAR NOT NULL,
    calls BIGINT NOT NULL,
    weight DOUBLE NOT NULL,
    errors BIGINT NOT NULL
);
INSERT INTO meta VALUES (1, uuid());
