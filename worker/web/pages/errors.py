"""The page of an error."""

from fastapi import Request
from fastapi.responses import PlainTextResponse, Response


def error_page(_request: Request, status: int, detail: str, headers: dict[str, str]) -> Response:
    """`headers`: the error's own, such as Location where somebody has to sign in first."""
    return PlainTextResponse(detail, status_code=status, headers=headers)
