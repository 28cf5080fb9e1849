-- Version 3 of what outlives the spans. `day` is the id of the file that the rows are from.
CREATE TABLE meta (version INTEGER NOT NULL);
/* include create_rollups */
ALTER TABLE rates_recent ADD COLUMN day UUID;
ALTER TABLE rates ADD COLUMN day UUID;
ALTER TABLE rates_long ADD COLUMN day UUID;
ALTER TABLE edges_recent ADD COLUMN day UUID;
ALTER TABLE edges ADD COLUMN day UUID;
INSERT INTO meta VALUES (3);
