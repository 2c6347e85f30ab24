"""Whether this process is well."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """This process answers."""

    status: Literal["ok"] = "ok"


@router.get("/healthz", summary="Whether this process answers")
async def healthz() -> Health:
    """Touches no server: for whoever restarts processes that do not answer."""
    return Health()
