"""`/v1`, and what machines ask: whether this process is well."""

from fastapi import APIRouter

from worker.web.api import health

router = APIRouter()
router.include_router(health.router)
