-- Written as a whole they are found faster and are smaller than as they came, run by run.
CREATE OR REPLACE TEMP TABLE ordered AS FROM traces_settled ORDER BY trace_low, trace_high, segment;
DELETE FROM traces_settled;
INSERT INTO traces_settled FROM temp.ordered;
CREATE OR REPLACE TEMP TABLE ordered AS FROM attribute_index ORDER BY fingerprint, segment;
DELETE FROM attribute_index;
INSERT INTO attribute_index FROM temp.ordered;
CREATE OR REPLACE TEMP TABLE ordered AS FROM rates ORDER BY minute, service, name;
DELETE FROM rates;
INSERT INTO rates FROM temp.ordered;
CREATE OR REPLACE TEMP TABLE ordered AS
SELECT minute, parent, parent_type, child, child_type, sum(calls) AS calls, sum(weight) AS weight, sum(errors) AS errors
FROM edges
GROUP BY ALL
HAVING sum(calls) <> 0
ORDER BY minute, parent, child;
DELETE FROM edges;
INSERT INTO edges FROM temp.ordered;
DROP TABLE temp.ordered;
UPDATE meta SET sorted = true
