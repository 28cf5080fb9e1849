-- From version 1 of the history: rates by the hour and the day, typed edges.
ALTER TABLE rates RENAME TO rates_1;
ALTER TABLE edges RENAME TO edges_1;
/* include create_rollups */
ALTER TABLE rates_recent ADD COLUMN day UUID;
ALTER TABLE rates ADD COLUMN day UUID;
ALTER TABLE rates_long ADD COLUMN day UUID;
ALTER TABLE edges_recent ADD COLUMN day UUID;
ALTER TABLE edges ADD COLUMN day UUID;
-- By the minute as they are: whoever reads hours and days does not miss them, since they stay recent.
INSERT INTO rates_recent BY NAME SELECT * FROM rates_1;
INSERT INTO edges BY NAME SELECT *, 'service' AS parent_type, 'service' AS child_type FROM edges_1;
DROP TABLE rates_1;
DROP TABLE edges_1
