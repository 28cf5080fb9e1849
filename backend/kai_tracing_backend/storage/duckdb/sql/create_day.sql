-- Version 3 of a day's file. `sorted`: nothing came since its indexes were put in order as a whole.
CREATE TABLE meta (version INTEGER NOT NULL, id UUID NOT NULL, sorted BOOLEAN NOT NULL);
CREATE TABLE spans_settled (
    -- Which 8,192 spans it is among: what the indexes below point to.
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
/* include create_indexes */
/* include create_recent */
/* include create_rollups */
INSERT INTO meta VALUES (3, uuid(), false);
