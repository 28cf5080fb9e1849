-- What is known of each trace: from the file that is judged, and from the others that have spans of it. Several rows of
-- a file are about one trace where its spans are far from one another.
CREATE OR REPLACE TEMP TABLE facts (
    trace_high UBIGINT NOT NULL,
    trace_low UBIGINT NOT NULL,
    file_end BIGINT NOT NULL,
    spans BIGINT NOT NULL,
    first_start BIGINT NOT NULL,
    last_start BIGINT NOT NULL,
    passed UBIGINT NOT NULL
)
