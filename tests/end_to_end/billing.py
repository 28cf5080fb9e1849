"""The billing service: takes messages from a queue, which it listens for itself, until it is told to stop."""

from __future__ import annotations

import json
from multiprocessing.connection import Listener

from kai_tracing_core import SpanKind, tracing


def main() -> None:
    """Print the port of the queue, then handle messages; an empty one is the last."""
    with Listener(("127.0.0.1", 0)) as queue:
        print(queue.address[1], flush=True)
        while True:
            with queue.accept() as connection:
                body = connection.recv_bytes()
            if not body:
                return
            message = json.loads(body)
            parent = tracing.extract_context(message["headers"])
            with tracing.span("process payments", kind=SpanKind.CONSUMER, parent=parent):
                pass


if __name__ == "__main__":
    main()
