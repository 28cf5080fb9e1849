INSERT INTO awaited
SELECT trace_high, trace_low, span_id, minute, service, weight, errors
FROM linked
ANTI JOIN (
    SELECT trace_high, trace_low, span_id FROM arrived WHERE kind = 4
    UNION ALL
    SELECT trace_high, trace_low, span_id FROM temp.relatives WHERE kind = 4
) AS known USING (trace_high, trace_low, span_id)
