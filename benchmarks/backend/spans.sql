-- The spans of the traces from $first to before $last, as they arrive: by the end of the span.
-- `u(key, salt)` is a number from 0 to 1 that depends on nothing else.
WITH requests AS (
    SELECT
        i,
        ($seed * 1_000_003 + i)::UBIGINT AS key,
        ($day + $length * (i / $traces) + u(i + $seed, 1) * 50_000_000)::BIGINT AS begins,
        (SELECT count(*) FROM flows WHERE until < u(i + $seed, 2)) AS flow,
        exp(1.1 * (u(i + $seed, 3) + u(i + $seed, 4) + u(i + $seed, 5) - 1.5)) AS slowness,
        pow(u(i + $seed, 6), 3) AS user_rank,
        u(i + $seed, 7) < 0.02 AS fails
    FROM range($first::BIGINT, $last::BIGINT) AS numbers(i)
),
nodes AS (
    SELECT
        requests.*,
        calls.*,
        hash(key, node) AS own,
        fails AND calls.fails_with AS failed,
        begins + (slowness * after * (0.8 + 0.4 * u(key + node, 8)))::BIGINT AS start_time,
        (slowness * takes * (0.7 + 0.6 * u(key + node, 9)))::BIGINT AS duration,
        'u-' || lpad((user_rank * 2_000_000)::BIGINT::VARCHAR, 8, '0') AS user,
        md5((key // 7)::VARCHAR) AS session,
        lower(to_hex(hash(key, node, 10))) AS item,
        '10.' || (u(key, 11) * 200)::INTEGER || '.' || (u(key, 12) * 250)::INTEGER || '.' || (u(key, 13) * 250)::INTEGER
            AS address
    FROM requests JOIN calls USING (flow)
)
SELECT
    hash(key, 'high') AS trace_high,
    hash(key, 'low') AS trace_low,
    own AS span_id,
    CASE WHEN parent < 0 THEN 0 ELSE hash(key, parent) END AS parent_id,
    start_time,
    duration,
    name,
    kind,
    CASE WHEN failed THEN 2 ELSE 0 END AS status,
    CASE WHEN failed THEN 'upstream did not answer in time' ELSE '' END AS status_message,
    '' AS trace_state,
    CASE WHEN parent < 0 THEN 257 ELSE 769 END AS flags,
    1.0 AS adjusted_count,
    CASE WHEN failed THEN
        '[[' || (start_time + duration) || ',"exception",{"exception.type":{"stringValue":"TimeoutError"},'
        || '"exception.message":{"stringValue":"no answer from ' || peer || ' for ' || item || '"}},0]]'
    END AS events,
    NULL AS links,
    0 AS dropped_attributes,
    0 AS dropped_events,
    0 AS dropped_links,
    service,
    resource,
    scope,
    CASE WHEN sort IN ('server', 'client') THEN method END AS "http.request.method",
    CASE WHEN sort IN ('server', 'client') THEN CASE WHEN failed THEN 504 WHEN method = 'POST' THEN 201 ELSE 200 END END
        AS "http.response.status_code",
    CASE WHEN sort = 'server' THEN route END AS "http.route",
    CASE WHEN sort = 'server' THEN replace(route, '{id}', item) END AS "url.path",
    CASE WHEN sort = 'client' THEN 'http://' || peer || ':8080' || replace(route, '{id}', item) || '?user=' || user END
        AS "url.full",
    CASE WHEN sort = 'server' THEN 'http' END AS "url.scheme",
    CASE WHEN sort <> 'inner' THEN peer END AS "server.address",
    CASE sort WHEN 'database' THEN 5432 WHEN 'cache' THEN 6379 WHEN 'server' THEN 8080 WHEN 'client' THEN 8080 END
        AS "server.port",
    CASE WHEN sort = 'server' THEN address END AS "client.address",
    CASE WHEN sort IN ('database', 'cache') THEN '10.96.' || node || '.10' END AS "network.peer.address",
    CASE WHEN sort = 'server' THEN '1.1' END AS "network.protocol.version",
    CASE WHEN sort = 'server' THEN 'Mozilla/5.0 (X11; Linux x86_64; rv:' || 100 + (u(key, 14) * 40)::INTEGER
        || '.0) Gecko/20100101 Firefox/' || 100 + (u(key, 14) * 40)::INTEGER || '.0' END AS "user_agent.original",
    CASE WHEN failed THEN 'TimeoutError' END AS "error.type",
    CASE sort WHEN 'database' THEN 'postgresql' WHEN 'cache' THEN 'redis' END AS "db.system.name",
    CASE WHEN sort IN ('database', 'cache') THEN service END AS "db.namespace",
    CASE sort WHEN 'database' THEN 'SELECT' WHEN 'cache' THEN 'GET' END AS "db.operation.name",
    CASE WHEN sort = 'database' THEN replace(service, '-', '_') END AS "db.collection.name",
    CASE sort
        WHEN 'database' THEN 'SELECT id, state, total, updated_at FROM ' || replace(service, '-', '_')
            || ' WHERE id = $1 AND tenant = $2 ORDER BY updated_at DESC LIMIT ' || (node + 1) * 10
        WHEN 'cache' THEN 'GET ' || service || ':' || user
    END AS "db.query.text",
    CASE WHEN sort IN ('producer', 'consumer') THEN 'kafka' END AS "messaging.system",
    CASE WHEN sort IN ('producer', 'consumer') THEN peer END AS "messaging.destination.name",
    CASE sort
        WHEN 'server' THEN MAP {'user.id': user, 'session.id': session, 'thread.name': 'http-' || node}
        WHEN 'client' THEN MAP {'user.id': user, 'thread.name': 'http-' || node, 'peer.zone': 'eu-' || node % 3}
        WHEN 'inner' THEN MAP {'code.function.name': name, 'code.file.path': '/srv/' || service || '/handlers.py',
            'user.id': user, 'session.id': session, 'feature.flag': 'variant-' || key % 4, 'cart.id': item}
        WHEN 'database' THEN MAP {'pool.name': service || '-pool', 'thread.name': 'db-' || node}
        WHEN 'cache' THEN MAP {'pool.name': service || '-cache', 'cache.key': 'user:' || user}
        ELSE MAP {'messaging.message.id': item, 'messaging.operation.type': sort, 'user.id': user,
            'messaging.client.id': service || '-1', 'thread.name': 'kafka-' || node}
    END AS attributes_string,
    CASE sort
        WHEN 'inner' THEN MAP {'code.line.number': 40 + node::BIGINT, 'cart.items': (u(key, 15) * 12)::BIGINT,
            'thread.id': 140_000 + node::BIGINT}
        WHEN 'database' THEN MAP {'db.response.returned_rows': (u(key + node, 16) * 50)::BIGINT}
        WHEN 'producer' THEN MAP {'messaging.kafka.offset': i, 'messaging.message.body.size': 200 + i % 2_000}
        WHEN 'consumer' THEN MAP {'messaging.kafka.offset': i, 'messaging.message.body.size': 200 + i % 2_000}
        WHEN 'client' THEN MAP {'http.response.body.size': (pow(u(key + node, 17), 4) * 90_000)::BIGINT}
        ELSE MAP {}
    END AS attributes_int,
    CASE WHEN sort = 'inner' THEN MAP {'cart.total': round(u(key, 18) * 400, 2)} ELSE MAP {} END AS attributes_double,
    CASE WHEN sort IN ('cache', 'client') THEN MAP {'cache.hit': u(key + node, 19) < 0.9} ELSE MAP {} END
        AS attributes_bool,
    MAP {}::MAP(VARCHAR, VARCHAR) AS attributes_other
FROM nodes
ORDER BY start_time + duration
