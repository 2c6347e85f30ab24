"""Whether this process is well, and whether it can do its work."""

from importlib.metadata import version
from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from worker.bootstrap.place import Place
from worker.domain.pace import LimiterState
from worker.domain.server_faults import ServerFault
from worker.jobs.views import ServerFaultOut
from worker.store.faults import DatabaseAway, TakesNoWrites, database_fault, lost_database_in_words
from worker.store.instances import find_seen_ago_s
from worker.store.readiness import OldSchema, require_ready
from worker.web.guards import GivenPlace

SEEN_LATELY_S = 45.0  # a worker says every 10 s that it lives

NO_KEY: dict[str, Any] = {"security": []}

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """This process answers."""

    status: Literal["ok"] = "ok"


class Version(BaseModel):
    """The release."""

    version: str = Field(examples=["0.1.0"])


class Readiness(BaseModel):
    """Whether what this process needs is there. `checks`: `ok`, or what is wrong, for each. `faults`: what ails a server,
    as in docs/alarms.md."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, str]
    faults: list[ServerFaultOut] = []


@router.get(
    "/healthz", operation_id="getHealth", summary="Whether this process answers", openapi_extra=NO_KEY
)
async def healthz() -> Health:
    """Touches no server: for whoever restarts processes that do not answer."""
    return Health()


@router.get(
    "/version",
    operation_id="getVersion",
    summary="Which version this process is of",
    openapi_extra=NO_KEY,
)
async def version_() -> Version:
    """Of cyclr-bulk; also in `/metrics`, as `cyclr_bulk_build_info`."""
    return Version(version=version("cyclr-bulk"))


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Whether this process can do its work",
    responses={503: {"description": "It cannot.", "model": Readiness}},
    openapi_extra=NO_KEY,
)
async def readyz(place: GivenPlace, response: Response) -> Readiness:
    """The database with its schema, whether it takes writes, Redis, and whether a worker was seen lately: for whoever sends it requests."""
    faults: list[ServerFault] = []
    checks = await run_in_threadpool(_check_database, place, faults)
    checks["redis"] = await _check_redis(place, faults) if checks["database"] == "ok" else "not asked"
    is_ready = all(found == "ok" for found in checks.values())
    response.status_code = 200 if is_ready else 503
    told = [ServerFaultOut.of(fault.in_public) for fault in faults]
    return Readiness(status="ready" if is_ready else "not_ready", checks=checks, faults=told)


def _check_database(place: Place, faults: list[ServerFault]) -> dict[str, str]:
    engine = place.database.engine
    try:
        require_ready(engine)
        with lost_database_in_words(engine):
            seen_ago_s = find_seen_ago_s(engine, place.database.instance_id)
    except DatabaseAway as away:
        found = _noted(database_fault(away), faults)
        if isinstance(away, TakesNoWrites):
            found = "it takes no writes"
        return {"database": found, "schema": "not asked", "worker": "not asked"}
    except OldSchema:
        return {
            "database": "ok",
            "schema": "older than this release: run the migrations",
            "worker": "not asked",
        }
    return {"database": "ok", "schema": "ok", "worker": _worker_in_words(seen_ago_s)}


def _worker_in_words(seen_ago_s: float | None) -> str:
    if seen_ago_s is None:
        return "none was seen within the hour"
    return "ok" if seen_ago_s <= SEEN_LATELY_S else f"the last was seen {seen_ago_s:.0f} s ago"


async def _check_redis(place: Place, faults: list[ServerFault]) -> str:
    state = await place.limiter_state(place.database.instance_id)
    if not isinstance(state, LimiterState):
        return _noted(state, faults)
    if state.outage is not None:
        faults.append(state.outage)  # this process can do its work all the same
    return "ok"


def _noted(fault: ServerFault | None, faults: list[ServerFault]) -> str:
    if fault is None:
        return "it does not answer"
    faults.append(fault)
    return f"it {fault.in_public.what}"
