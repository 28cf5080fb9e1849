-- The traces of the file that is judged that have spans in this one, too.
CREATE OR REPLACE TEMP TABLE shared AS
SELECT DISTINCT trace_high, trace_low
FROM traces
SEMI JOIN facts ON facts.trace_low = traces.trace_low AND facts.trace_high = traces.trace_high
