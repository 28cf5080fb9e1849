-- What a batch adds to who calls whom, given the spans of its traces that were there before.
-- Where the two halves of a call share an id (Zipkin), the server's parent is the client's half, and what is under
-- that id belongs to the server: a client calls servers and consumers, and what else is under one is not its callee.
INSERT INTO edges_recent
WITH known AS (
    SELECT trace_high, trace_low, span_id, start_time, kind, parent_id, service, status, adjusted_count, flags, true AS new,
        /* include peer */
    FROM arrived
    UNION ALL BY NAME
    SELECT *, false AS new FROM temp.relatives
),
halves AS (
    SELECT trace_high, trace_low, span_id, bool_or(NOT new) AS before FROM known WHERE flags >= $shared GROUP BY ALL
),
-- With whether each counts, and whether it did so before: once there is a server's half, what is under it is not the
-- client's any more.
calls AS (
    SELECT p.trace_high, p.trace_low, p.span_id, p.service AS parent, p.kind AS parent_kind, p.start_time AS parent_start,
        c.service AS child, c.start_time, c.status, c.adjusted_count, half.span_id IS NULL AS now,
        NOT c.new AND NOT p.new AND NOT coalesce(half.before, false) AS before
    FROM known AS c
    JOIN known AS p ON p.span_id = CASE WHEN c.flags >= $shared THEN c.span_id ELSE c.parent_id END
        AND p.trace_low = c.trace_low AND p.trace_high = c.trace_high
    LEFT JOIN halves AS half ON p.kind = 3 AND c.flags < $shared AND half.span_id = p.span_id
        AND half.trace_low = p.trace_low AND half.trace_high = p.trace_high
    WHERE NOT (p.kind = 3 AND c.kind IN (0, 3, 4)) AND (p.service <> c.service OR (p.kind = 3 AND c.kind IN (2, 5))
        OR (p.kind = 2 AND c.kind = 2 AND c.flags < $shared))
),
-- Whether a client's call had its other side before, and has it now.
answered AS (
    SELECT trace_high, trace_low, span_id, parent_start AS start_time, bool_or(before) AS before
    FROM calls
    WHERE parent_kind = 3 AND now
    GROUP BY ALL
),
-- A call whose other side is not here goes to what the client says; no longer when that side comes.
peers AS (
    SELECT known.*, CASE WHEN new THEN 1 ELSE -1 END AS sign
    FROM known
    LEFT JOIN answered USING (trace_high, trace_low, span_id, start_time)
    WHERE kind = 3 AND peer.name IS NOT NULL
        AND CASE WHEN new THEN answered.span_id IS NULL ELSE answered.span_id IS NOT NULL AND NOT before END
),
messages AS (
    SELECT *, coalesce("messaging.destination.name", "peer.service") AS queue FROM arrived WHERE queue IS NOT NULL
),
found AS (
    SELECT start_time, parent, 'service' AS parent_type, child, 'service' AS child_type, now::INTEGER - before::INTEGER AS sign,
        adjusted_count, status
    FROM calls
    WHERE now <> before
    UNION ALL
    SELECT start_time, service, 'service', peer.name, peer.type, sign, adjusted_count, status FROM peers
    UNION ALL
    SELECT start_time, service, 'service', queue, 'queue', 1, adjusted_count, status FROM messages WHERE kind = 4
    UNION ALL
    SELECT start_time, queue, 'queue', service, 'service', 1, adjusted_count, status FROM messages WHERE kind = 5
)
SELECT start_time // 60_000_000_000, parent, parent_type, child, child_type, sum(sign), sum(sign * adjusted_count),
    sum(sign * (status = 2)::INTEGER)
FROM found
GROUP BY ALL
