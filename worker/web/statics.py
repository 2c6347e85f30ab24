"""Files that never change while we run: each has its version in its address, so that browsers need not ask again."""

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"
FOR_EVER = "public, max-age=31536000, immutable"
FOR_A_DAY = "public, max-age=86400"

router = APIRouter(include_in_schema=False)


@cache
def address_of(name: str) -> str:
    """The address of this file as it is now. Raises: OSError."""
    return f"/static/{name}?{_version(name)}"


@cache
def _version(name: str) -> str:
    return f"v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]}"


class Statics(StaticFiles):
    """The folder `static`. Who asks for the version that is here may keep it for ever.

    Another version is that of another process, of before or after an update: it is answered with what is here, and not
    kept.
    """

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        if answer.status_code < 400 and scope["query_string"].decode("latin-1") == _version(path):
            answer.headers["Cache-Control"] = FOR_EVER
        return answer


@router.get("/favicon.ico")
def favicon() -> Response:
    """Asked for by browsers where no page names an icon."""
    return FileResponse(STATIC / "favicon.ico", headers={"Cache-Control": FOR_A_DAY})
