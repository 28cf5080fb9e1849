INSERT INTO segments
SELECT segment, count(*), min(start_time), max(start_time) FROM (/* spans */) GROUP BY segment ORDER BY segment
