INSERT INTO traces_settled SELECT DISTINCT trace_high, trace_low, segment FROM (/* spans */) ORDER BY trace_low, trace_high, segment
