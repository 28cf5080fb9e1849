"""The shop: a FastAPI application that asks the stock service, run by uvicorn."""

from __future__ import annotations

import os

from fastapi import BackgroundTasks, FastAPI

from kai_tracing_core import tracing
from kai_tracing_core.http import TracingMiddleware, create_async_api_client

app = FastAPI(telemetry={"tracing": False})  # FastAPI's own, which begins where OpenTelemetry's API has a provider
app.add_middleware(TracingMiddleware)
stock = create_async_api_client(base_url=os.environ.get("STOCK_URL", ""), timeout=30)


def receipt(order: int) -> None:
    """What is done after the answer."""
    with tracing.span("write receipt", attributes={"order": order}):
        pass


@app.get("/orders/{order}")
async def orders(order: int, tasks: BackgroundTasks) -> dict[str, str]:
    """Reserve what was ordered."""
    tasks.add_task(receipt, order)
    response = await stock.put(f"/reservations/{order}")
    return {"trace": tracing.get_current_span().trace_id, "stock": response.text}
