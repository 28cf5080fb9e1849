"""The commands that the backend adds to `kai-tracing`: a module for each noun.

They are imported for `kai-tracing --help`, so each imports what is heavy when it runs.
"""

from kai_tracing_backend.cli.attributes import attributes
from kai_tracing_backend.cli.retention import archive, pins, retention
from kai_tracing_backend.cli.search import search, tail
from kai_tracing_backend.cli.serve import serve
from kai_tracing_backend.cli.services import services
from kai_tracing_backend.cli.stats import stats
from kai_tracing_backend.cli.tokens import tokens
from kai_tracing_backend.cli.trace import trace
from kai_tracing_backend.cli.transfer import export, import_files

__all__ = ["COMMANDS"]

COMMANDS = (
    archive,
    attributes,
    export,
    import_files,
    pins,
    retention,
    search,
    serve,
    services,
    stats,
    tail,
    tokens,
    trace,
)
"""What `kai-tracing` gets."""
