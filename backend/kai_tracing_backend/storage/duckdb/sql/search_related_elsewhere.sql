UNION SELECT number FROM wanted SEMI JOIN /* file */.traces USING (trace_low, trace_high)
