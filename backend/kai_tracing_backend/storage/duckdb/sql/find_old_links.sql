INSERT INTO temp.old_links
SELECT awaited.* FROM awaited SEMI JOIN arrived USING (trace_low, trace_high, span_id)
