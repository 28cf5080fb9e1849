"""The command line, `kai-tracing`: a module for each group of commands."""

from kai_tracing_core.cli.app import main

__all__ = ["main"]
