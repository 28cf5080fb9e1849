-- Version 2 of what outlives the spans. `day` is the id of the file that the rows are from.
CREATE TABLE meta (version INTEGER NOT NULL);
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
ALTER TABLE rates_recent ADD COLUMN day UUID;
ALTER TABLE rates ADD COLUMN day UUID;
ALTER TABLE rates_long ADD COLUMN day UUID;
ALTER TABLE edges_recent ADD COLUMN day UUID;
ALTER TABLE edges ADD COLUMN day UUID;
INSERT INTO meta VALUES (2);
