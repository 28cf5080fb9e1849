"""The clients that are ready to use. A module of its own, since loading the certificates takes a while."""

from __future__ import annotations

import httpx

from kai_tracing_core.http.client import create_api_client, create_async_api_client

__all__ = ["api_client", "async_api_client"]

_TLS = httpx.create_ssl_context()

api_client = create_api_client(verify=_TLS)
"""A client that is ready to use, from any thread."""

async_api_client = create_async_api_client(verify=_TLS)
"""A client that is ready to use in one event loop; a program that runs several makes a client in each."""
