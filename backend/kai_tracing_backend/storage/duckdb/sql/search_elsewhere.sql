UNION ALL SELECT trace_high, trace_low FROM /* file */.traces SEMI JOIN here USING (trace_low, trace_high)
