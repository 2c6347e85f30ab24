"""`/v1`, and what machines ask: whether this process is well."""

from fastapi import APIRouter

from worker.web.api import (
    accounts,
    connectors,
    documentation,
    events,
    health,
    jobs,
    metrics,
    steering,
    submitting,
)

router = APIRouter()
for part in (submitting, jobs, steering, events, accounts, connectors, health, metrics, documentation):
    router.include_router(part.router)
