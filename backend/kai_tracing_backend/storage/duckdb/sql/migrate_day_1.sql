-- From version 1 of a day's file: spans in segments, an attribute index, rates by the hour and the day, typed edges.
ALTER TABLE spans ADD COLUMN segment INTEGER;
UPDATE spans SET segment = rowid // 8192;
ALTER TABLE rates RENAME TO rates_1;
ALTER TABLE edges RENAME TO edges_1;
DROP TABLE traces;
/* include create_indexes */
/* include create_rollups */
/* include write_segments */;
/* include write_traces */;
INSERT INTO rates_recent BY NAME SELECT * FROM rates_1;
INSERT INTO edges BY NAME SELECT *, 'service' AS parent_type, 'service' AS child_type FROM edges_1;
DROP TABLE rates_1;
DROP TABLE edges_1;
/* include write_attributes */;
/* include merge_rates */;
-- As version 2 had them.
ALTER TABLE traces_settled RENAME TO traces;
CREATE TABLE attributes_recent AS FROM attribute_index LIMIT 0
