"""Retention: the policy that holds, what it would drop, dropping it, and the traces that stay."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import yaml
from fastapi import Depends, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from kai_tracing_backend.api.errors import NotFoundError
from kai_tracing_backend.api.parameters import ParameterError
from kai_tracing_backend.api.traces import normal_id
from kai_tracing_backend.api.v1.asking import Asking, router_of
from kai_tracing_backend.api.v1.models import Failure
from kai_tracing_backend.keeping import NEVER, Pin
from kai_tracing_backend.retention.keeper import BusyError, Keeper, Plan, StaleError, Sweep
from kai_tracing_backend.retention.planning import RulePlan
from kai_tracing_backend.retention.policy import concerns
from kai_tracing_backend.retention.units import parse_keep
from kai_tracing_backend.tenants import DEFAULT_TENANT

__all__ = ["Keeping", "keep_time", "router"]

router = router_of("retention", limited=False)

_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": Failure, "description": "There is no such plan any more, or a sweep is running."}
}
_NO_PIN: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "The trace is not there, or not pinned."}
}


def _keeper(request: Request) -> Keeper:
    found: Keeper = request.app.state.keeper
    return found


Keeping = Annotated[Keeper, Depends(_keeper)]
_ID: dict[str, Any] = {"pattern": "^[0-9a-fA-F]{1,32}$"}  # `normal_id` checks it, and says it in plain words
TraceIdPath = Annotated[str, Path(description="1 to 32 hexadecimal digits.", json_schema_extra=_ID)]


def keep_time(text: str | None, parameter: str = "keep") -> int:
    """How long something is kept, in nanoseconds; `NEVER` for None."""
    if text is None:
        return NEVER
    try:
        return parse_keep(text)
    except ValueError as error:
        raise ParameterError(parameter, str(error)) from error


class ApplyRequest(BaseModel):
    """Which plan to carry out."""

    plan: Annotated[str, Field(max_length=100, description="`id` of the tenant's last plan.")]


class PinRequest(BaseModel):
    """Which trace stays."""

    trace_id: Annotated[str, Field(description="1 to 32 hexadecimal digits.", json_schema_extra=_ID)]
    note: Annotated[str, Field(max_length=1_000, description="Why.")] = ""


@router.get("/retention/policy")
def policy(keeper: Keeping, tenant: Asking) -> dict[str, Any]:
    """The policy that holds now, and what is wrong with its file, if anything: then it is the last good one.

    The default tenant sees the file as it is; the others see the rules that concern them, and nobody else's name.
    """
    now = keeper.source.current()
    whole = tenant.name == DEFAULT_TENANT
    rules = [
        rule.model_dump(mode="json", exclude_none=True, exclude=None if whole else {"match": {"tenant"}})
        for rule in now.policy.rules
        if whole or concerns(rule, tenant.name)
    ]
    return {
        "source": now.source if whole else "what of the backend's policy concerns this tenant",
        "loaded": str(now.loaded),
        "error": now.error if whole else None,
        "text": now.text if whole else yaml.safe_dump({"rules": rules}, sort_keys=False, allow_unicode=True),
        "rules": rules,
        "rollups": str(now.policy.rollups),
        "maxSize": now.policy.max_size,
    }


@router.post("/retention/plan")
def plan(keeper: Keeping, tenant: Asking) -> dict[str, Any]:
    """What would be dropped now, by rule and by day, and about what that frees. Nothing is dropped by this."""
    return plan_document(keeper.plan(tenant))


@router.post("/retention/apply", status_code=HTTPStatus.ACCEPTED, responses=_CONFLICT, response_model=None)
def apply(keeper: Keeping, tenant: Asking, body: ApplyRequest) -> dict[str, Any] | JSONResponse:
    """Begin to drop what the tenant's last plan said; `/retention/status` says how far it is.

    Days that are not any more as the plan said are left alone.
    """
    try:
        return sweep_document(keeper.apply(tenant, body.plan))
    except (BusyError, StaleError) as error:
        return JSONResponse({"error": str(error)}, HTTPStatus.CONFLICT)


@router.get("/retention/status")
def status(keeper: Keeping, tenant: Asking) -> dict[str, Any]:
    """The sweep that runs, or the last one, and when the next one begins."""
    last = keeper.last_sweep(tenant)
    return {
        "sweep": None if last is None else sweep_document(last),
        "nextSweep": None if keeper.next_sweep is None else str(keeper.next_sweep),
        "bytes": tenant.store.retention.bytes(),
        "held": [
            {"day": hold.day.isoformat(), "until": str(hold.until)} for hold in tenant.store.retention.marks.holds()
        ],
    }


@router.get("/pins")
def pins(tenant: Asking) -> dict[str, Any]:
    """The traces that stay whatever the policy says, the newest pin first."""
    return {"pins": [_pin(found) for found in tenant.store.retention.marks.pins()]}


@router.post("/pins", status_code=HTTPStatus.CREATED, responses=_NO_PIN)
def pin(tenant: Asking, body: PinRequest) -> dict[str, Any]:
    """Keep a trace until it is unpinned, or change the note."""
    trace_id = normal_id("trace_id", body.trace_id)
    if not tenant.store.trace(trace_id):
        raise NotFoundError(f"there is no trace {trace_id}")
    try:
        return _pin(tenant.store.retention.marks.pin(trace_id, body.note))
    except ValueError as error:
        raise ParameterError("trace_id", str(error)) from error


@router.delete("/pins/{trace_id}", responses=_NO_PIN)
def unpin(tenant: Asking, trace_id: TraceIdPath) -> dict[str, Any]:
    """Let the policy have the trace again."""
    trace_id = normal_id("trace_id", trace_id)
    if not tenant.store.retention.marks.unpin(trace_id):
        raise NotFoundError(f"the trace {trace_id} is not pinned")
    return {"unpinned": trace_id}


# -- documents ---------------------------------------------------------------------------------------------------------


def plan_document(plan: Plan) -> dict[str, Any]:
    """A plan as the API answers it."""
    planned = plan.tenant
    return {
        "id": plan.id,
        "created": str(plan.created),
        "tenant": planned.tenant,
        "bytes": planned.bytes,
        "rules": [_rule(rule) for rule in planned.rules],
        "days": [
            {
                "day": day.day.isoformat(),
                "traces": day.traces,
                "spans": day.spans,
                "ofSpans": day.of_spans,
                "bytes": day.bytes,
                "whole": day.whole,
            }
            for day in planned.days
        ],
    }


def _rule(rule: RulePlan) -> dict[str, Any]:
    return {
        "rule": rule.rule,
        "traces": rule.traces,
        "spans": rule.spans,
        "bytes": rule.bytes,
        "oldest": None if rule.oldest is None else str(rule.oldest),
        "newest": None if rule.newest is None else str(rule.newest),
    }


def sweep_document(sweep: Sweep) -> dict[str, Any]:
    """What a sweep did so far, as the API answers it."""
    return {
        "tenant": sweep.tenant,
        "plan": sweep.plan,
        "started": str(sweep.started),
        "ended": None if sweep.ended is None else str(sweep.ended),
        "days": sweep.days,
        "daysDone": sweep.days_done,
        "traces": sweep.dropped.traces,
        "spans": sweep.dropped.spans,
        "bytes": sweep.dropped.bytes,
        "rollups": sweep.rollups,
        "changed": [day.isoformat() for day in sweep.changed],
        "error": sweep.error,
    }


def _pin(pin: Pin) -> dict[str, Any]:
    return {
        "traceId": pin.trace_id,
        "note": pin.note,
        "created": str(pin.created),
        "until": None if pin.until == NEVER else str(pin.until),
    }
