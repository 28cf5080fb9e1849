"""The stock: a Flask application over SQLite, run by gunicorn, that tells the billing service through a queue."""

from __future__ import annotations

import json
import os
from multiprocessing.connection import Client

import sqlalchemy
from flask import Flask
from kai_tracing_opentelemetry import bridge
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

from kai_tracing_core import SpanKind, tracing
from kai_tracing_core.http import TracingWsgiMiddleware

# OpenTelemetry's own instrumentation of SQLAlchemy makes spans of whatever provider was chosen.
bridge.install()
engine = sqlalchemy.create_engine(f"sqlite:///{os.environ['STOCK_DATABASE']}")
SQLAlchemyInstrumentor().instrument(engine=engine)

app = Flask(__name__)
app.wsgi_app = TracingWsgiMiddleware(app.wsgi_app)


@app.put("/reservations/<int:order>")
def reserve(order: int) -> str:
    """Write it down, and have it billed."""
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS reservations (item INTEGER)"))
        connection.execute(sqlalchemy.text("INSERT INTO reservations VALUES (:item)"), {"item": order})
    with tracing.span("send payments", kind=SpanKind.PRODUCER) as span:
        headers: dict[str, str] = {}
        tracing.inject_context(span.trace_context, headers)
        with Client(("127.0.0.1", int(os.environ["QUEUE_PORT"]))) as queue:
            queue.send_bytes(json.dumps({"headers": headers, "order": order}).encode())
    return "reserved"
