"""Whether this process is well, and whether it can do its work."""

from importlib.metadata import version
from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from worker.cyclr.errors import CyclrError
from worker.settings import InvalidSettings
from worker.store.readiness import (
    DatabaseAway,
    OldSchema,
    TakesNoWrites,
    lost_database_in_words,
    require_ready,
)
from worker.store.sightings import find_seen_ago_s
from worker.web.place import GivenPlace, Place

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
    """Whether what this process needs is there. `checks`: `ok`, or what is wrong, for each."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, str]


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
    checks = await run_in_threadpool(_check_database, place)
    checks["redis"] = await _check_redis(place) if checks["database"] == "ok" else "not asked"
    is_ready = all(found == "ok" for found in checks.values())
    response.status_code = 200 if is_ready else 503
    return Readiness(status="ready" if is_ready else "not_ready", checks=checks)


def _check_database(place: Place) -> dict[str, str]:
    engine = place.database.engine
    try:
        require_ready(engine)
        with lost_database_in_words(engine):
            seen_ago_s = find_seen_ago_s(engine, place.database.instance_id)
    except TakesNoWrites:
        return {"database": "it takes no writes", "schema": "not asked", "worker": "not asked"}
    except DatabaseAway:
        return {"database": "it does not answer", "schema": "not asked", "worker": "not asked"}
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


async def _check_redis(place: Place) -> str:
    try:
        _, limiter = await place.cyclr()
        await limiter.state()
    except (CyclrError, InvalidSettings):
        return "it does not answer"
    return "ok"
