SEMI JOIN shared ON shared.trace_low = spans.trace_low AND shared.trace_high = spans.trace_high
