SELECT DISTINCT segment FROM traces WHERE trace_low = $low AND trace_high = $high
