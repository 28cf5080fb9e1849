-- From version 2 of a day's file: what comes is apart from what is settled.
ALTER TABLE meta ADD COLUMN sorted BOOLEAN;
UPDATE meta SET sorted = false;
ALTER TABLE spans RENAME TO spans_settled;
ALTER TABLE traces RENAME TO traces_settled;
INSERT INTO attribute_index SELECT DISTINCT fingerprint, segment FROM attributes_recent ORDER BY fingerprint, segment;
DROP TABLE attributes_recent;
/* include create_recent */
