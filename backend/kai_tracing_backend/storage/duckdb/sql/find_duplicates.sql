-- Rows of the batch that are there already, or a second time in the batch. What has only the time of its arrival is
-- known again by whose it is: a retry arrives later.
SELECT row_index
FROM arrived
SEMI JOIN temp.relatives USING (span_id, trace_low, trace_high, start_time, kind)
UNION
SELECT row_index
FROM (FROM arrived WHERE flags & $arrival <> 0)
SEMI JOIN (FROM temp.relatives WHERE flags & $arrival <> 0) USING (span_id, trace_low, trace_high, kind, service)
UNION
SELECT unnest(list(row_index ORDER BY row_index)[2:])
FROM arrived
GROUP BY trace_high, trace_low, span_id, kind,
    CASE WHEN flags & $arrival <> 0 THEN NULL ELSE start_time END,
    CASE WHEN flags & $arrival <> 0 THEN service END
HAVING count(*) > 1
