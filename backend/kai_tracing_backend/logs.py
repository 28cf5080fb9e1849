"""The backend's log: lines for people, or JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any

from kai_tracing_core.service import TracingService
from kai_tracing_core.telemetry.logs import TraceContextFilter

__all__ = ["JsonFormatter", "log_to_stderr"]

_NO_TRACE = "0" * 32


class JsonFormatter(logging.Formatter):
    """An object a line: `time`, `level`, `logger`, `message`; `exception`, `trace_id`, `span_id` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        if getattr(record, "trace_id", _NO_TRACE) != _NO_TRACE:
            document |= {"trace_id": vars(record)["trace_id"], "span_id": vars(record)["span_id"]}
        return json.dumps(document, ensure_ascii=False)


def log_to_stderr(kind: str, level: str, tracing: TracingService | None) -> None:
    """Have everything of this level and above written to standard error, as `text` or `json`.

    With `tracing`, the lines of a traced request know its trace.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if kind == "json" else text)
    if tracing is not None:
        handler.addFilter(TraceContextFilter(tracing))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
