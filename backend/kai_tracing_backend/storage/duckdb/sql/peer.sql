-- What a client calls, where it is not known as a service: what it says itself.
CASE
    WHEN kind <> 3 THEN NULL
    WHEN coalesce("db.system.name", "db.system") IS NOT NULL THEN {
        type: 'database',
        name: coalesce(
            "peer.service", coalesce("db.system.name", "db.system") || coalesce('/' || "db.namespace", '')
        )
    }
    ELSE {
        type: 'external',
        name: coalesce(
            "peer.service",
            "server.address",
            nullif(regexp_extract(coalesce("url.full", "http.url"), '^[a-zA-Z][a-zA-Z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:]+)', 1), '')
        )
    }
END AS peer
