"""The page of an error."""

from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from worker.web.pages.rendering import render

HEADINGS = {
    401: "Sign in",
    403: "Not allowed",
    404: "Not found",
    409: "Not now",
    413: "Too large",
    422: "Not as expected",
    503: "Not available just now",
}


def error_page(request: Request, status: int, detail: str, headers: Mapping[str, str]) -> Response:
    """A page that says it in words; where the answer is to look elsewhere, the way there."""
    if 300 <= status < 400:
        return RedirectResponse(headers["Location"], status_code=status)
    heading = HEADINGS.get(status, "That did not work")
    return render(request, "pages/error.html", status=status, headers=headers, heading=heading, detail=detail)
