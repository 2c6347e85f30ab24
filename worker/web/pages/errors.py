"""The page of an error."""

import re

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from worker.web.http_errors import HttpError
from worker.web.pages.rendering import render

BELOW_A_JOB = re.compile(r"(/jobs/\d{6}-[a-z0-9]{6})/")
HEADINGS = {
    401: "Sign in",
    403: "Not allowed",
    404: "Not found",
    409: "Not now",
    413: "Too large",
    422: "Not as expected",
    503: "Not available just now",
}


def error_page(request: Request, error: HttpError) -> Response:
    """A page that says it in words, and leads back to where it came from; where the answer is to look elsewhere, the
    way there.
    """
    status, headers = error.status_code, dict(error.headers or {})
    if 300 <= status < 400:
        return RedirectResponse(headers["Location"], status_code=status)
    heading = HEADINGS.get(status, "That did not work")
    back, label = _way_back(request.scope["path"], error.code)
    return render(
        request,
        "pages/error.html",
        status=status,
        headers=headers,
        heading=heading,
        detail=error.detail,
        back=back,
        back_label=label,
    )


def _way_back(path: str, code: str) -> tuple[str, str]:
    job = BELOW_A_JOB.match(path)
    if job and code != "unknown_job":
        return job[1], "Back to the job"
    if path.startswith(("/uploads/", "/jobs/new/")):
        return "/jobs/new", "To a new job"
    return "/jobs", "To the jobs"
