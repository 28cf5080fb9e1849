CREATE OR REPLACE TEMP TABLE ordered AS FROM traces_settled ORDER BY trace_low, trace_high, segment;
DELETE FROM traces_settled;
INSERT INTO traces_settled FROM temp.ordered;
DROP TABLE temp.ordered;
UPDATE meta SET sorted = true
