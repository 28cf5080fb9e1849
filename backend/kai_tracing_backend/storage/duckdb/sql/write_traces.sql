INSERT INTO traces SELECT DISTINCT trace_high, trace_low, segment FROM incoming
