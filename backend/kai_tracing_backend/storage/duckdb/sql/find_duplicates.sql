-- Rows of the batch that are there already, or a second time in the batch.
SELECT row_index
FROM arrived
SEMI JOIN temp.relatives USING (span_id, trace_low, trace_high, start_time, kind)
UNION
SELECT unnest(list(row_index ORDER BY row_index)[2:])
FROM arrived
GROUP BY trace_high, trace_low, span_id, start_time, kind
HAVING count(*) > 1
