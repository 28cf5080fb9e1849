-- Spans as they came: a run of 122,880 has the number of the first segment that it will be. When it is whole it is
-- sorted, indexed and moved to `spans_settled`; see segments.py.
CREATE TABLE spans_recent AS FROM spans_settled LIMIT 0;
CREATE VIEW spans AS FROM spans_settled UNION ALL FROM spans_recent;
CREATE VIEW traces AS
FROM traces_settled UNION ALL SELECT DISTINCT trace_high, trace_low, segment FROM spans_recent;
