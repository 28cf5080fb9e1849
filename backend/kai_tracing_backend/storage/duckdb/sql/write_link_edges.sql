-- Messages whose consumer has a link to the producer: new links to any producer, and new producers under old links.
INSERT INTO edges_recent
SELECT minute, parent, 'service', child, 'service', count(*), sum(weight), sum(errors)
FROM (
    SELECT minute, known.service AS parent, linked.service AS child, weight, errors
    FROM linked
    JOIN (
        SELECT DISTINCT trace_high, trace_low, span_id, service
        FROM (
            SELECT trace_high, trace_low, span_id, service, kind FROM arrived
            UNION ALL
            SELECT trace_high, trace_low, span_id, service, kind FROM temp.relatives
        )
        WHERE kind = 4
    ) AS known USING (trace_high, trace_low, span_id)
    UNION ALL
    SELECT minute, arrived.service, old.service, weight, errors
    FROM temp.old_links AS old
    JOIN arrived USING (trace_high, trace_low, span_id)
    WHERE arrived.kind = 4
)
WHERE parent <> child
GROUP BY minute, parent, child
