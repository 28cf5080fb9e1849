DELETE FROM /* table */ AS found USING doomed
WHERE found.trace_low = doomed.trace_low AND found.trace_high = doomed.trace_high
