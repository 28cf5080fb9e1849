"""Verdicts of tail samplers: the process with a trace's root says what became of it, the others ask.

The protocol is that of `kai_tracing_core.sampling.decisions`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from kai_tracing_backend.api.v1.asking import Asking, router_of
from kai_tracing_core.sampling.decisions import Verdict

__all__ = ["router"]

router = router_of("sampling")

_MOST = 10_000  # in one request

_TraceId = Annotated[
    str,
    Field(alias="traceId", pattern="^[0-9a-f]{1,32}$", description="At most 32 hexadecimal digits.", examples=["a1"]),
]


class Decision(BaseModel):
    """What became of a trace at its root."""

    model_config = ConfigDict(populate_by_name=True)

    trace_id: _TraceId
    keep: bool
    probability: float = Field(1.0, ge=0, le=1, description="With which it was chosen.")


class Decisions(BaseModel):
    """Some verdicts."""

    decisions: Annotated[list[Decision], Field(max_length=_MOST)]


class Question(BaseModel):
    """Whose verdicts are wanted."""

    trace_ids: Annotated[
        list[Annotated[str, Field(pattern="^[0-9a-f]{1,32}$")]], Field(alias="traceIds", max_length=_MOST)
    ]


@router.post("/sampling/decisions", status_code=HTTPStatus.NO_CONTENT)
def publish(tenant: Asking, published: Decisions) -> Response:
    """Tell the verdicts of traces whose root is here. The last 100,000 are remembered."""
    tenant.verdicts.publish({int(one.trace_id, 16): Verdict(one.keep, one.probability) for one in published.decisions})
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post("/sampling/decisions/query")
def query(tenant: Asking, question: Question) -> Decisions:
    """Those verdicts that are known of these traces."""
    found = tenant.verdicts.poll([int(trace_id, 16) for trace_id in question.trace_ids])
    return Decisions(
        decisions=[
            Decision(trace_id=f"{trace_id:032x}", keep=verdict.keep, probability=verdict.probability)
            for trace_id, verdict in found.items()
        ]
    )
