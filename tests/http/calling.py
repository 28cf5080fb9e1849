"""The same calls by the client and by its twin for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from kai_tracing_core import TracingService
from kai_tracing_core.http import create_api_client, create_async_api_client

Outcome = httpx.Response | Exception
Calls = Callable[..., list[Outcome]]


def call_sync(service: TracingService | None, *requests: tuple[Any, ...], **options: Any) -> list[Outcome]:
    """What came of the requests (method, URL and, perhaps, keywords) with one client, in their order."""
    outcomes: list[Outcome] = []
    with create_api_client(service=service, **options) as client:
        for method, url, *keywords in requests:
            try:
                outcomes.append(client.request(method, url, **(keywords[0] if keywords else {})))
            except Exception as error:
                outcomes.append(error)
    return outcomes


def call_async(service: TracingService | None, *requests: tuple[Any, ...], **options: Any) -> list[Outcome]:
    """As `call_sync`, with the client for asyncio."""

    async def main() -> list[Outcome]:
        outcomes: list[Outcome] = []
        async with create_async_api_client(service=service, **options) as client:
            for method, url, *keywords in requests:
                try:
                    outcomes.append(await client.request(method, url, **(keywords[0] if keywords else {})))
                except Exception as error:
                    outcomes.append(error)
        return outcomes

    return asyncio.run(main())
