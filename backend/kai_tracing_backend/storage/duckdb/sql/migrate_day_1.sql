-- From version 1 of a day's file: spans in segments, an attribute index, rates by the hour and the day, typed edges.
ALTER TABLE spans ADD COLUMN segment INTEGER;
UPDATE spans SET segment = rowid // 8192;
ALTER TABLE rates RENAME TO rates_1;
ALTER TABLE edges RENAME TO edges_1;
DROP TABLE traces;
/* include create_indexes */
/* include create_rollups */
INSERT INTO segments SELECT segment, count(*), min(start_time), max(start_time) FROM spans GROUP BY segment ORDER BY segment;
INSERT INTO traces SELECT DISTINCT trace_high, trace_low, segment FROM spans ORDER BY segment, trace_high, trace_low;
INSERT INTO rates_recent BY NAME SELECT * FROM rates_1;
INSERT INTO edges BY NAME SELECT *, 'service' AS parent_type, 'service' AS child_type FROM edges_1;
DROP TABLE rates_1;
DROP TABLE edges_1;
CREATE TEMP VIEW incoming AS SELECT * FROM spans;
/* include write_attributes */;
DROP VIEW temp.incoming;
/* include merge_rates */
