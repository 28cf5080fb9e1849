-- Version 1 of what outlives the spans. `day` is the id of the file that the rows are from.
CREATE TABLE meta (version INTEGER NOT NULL);
CREATE TABLE rates (
    day UUID NOT NULL,
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
CREATE TABLE edges (
    day UUID NOT NULL,
    minute INTEGER NOT NULL,
    parent VARCHAR NOT NULL,
    child VARCHAR NOT NULL,
    calls BIGINT NOT NULL,
    weight DOUBLE NOT NULL,
    errors BIGINT NOT NULL
);
INSERT INTO meta VALUES (1);
