"""The shop of `kai-tracing demo`: small HTTP services, each a process of its own, whose calls become traces."""
