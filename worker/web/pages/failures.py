"""Why rows of a job failed: all reasons, page by page."""

import re
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response

from worker.store.tallies import FailurePlace, list_failures
from worker.web.api.parameters import JobId, PageText
from worker.web.faults import FAILURE_PLACE
from worker.web.guards import GivenPlace, PageReader
from worker.web.pages.job import require_job
from worker.web.pages.jobs import other_host
from worker.web.pages.looks import JobShown, ReasonShown
from worker.web.pages.rendering import render
from worker.web.pages.rows import address

PAGE = 25

router = APIRouter()


@dataclass(frozen=True, slots=True)
class ReasonsView:
    """A page of them. `previous`, `next`: addresses; None: there is no such page."""

    reasons: list[ReasonShown]
    previous: str | None
    next: str | None


@router.get("/jobs/{job_id}/failures")
def failures_page(
    request: Request,
    job_id: JobId,
    caller: PageReader,
    place: GivenPlace,
    after: PageText = "",
    before: PageText = "",
) -> Response:
    job = require_job(place, job_id)
    look = JobShown(job, place.clock.now(), other_host=other_host(job, place))
    return render(
        request,
        "pages/failures.html",
        section="jobs",
        look=look,
        view=_view(place, job_id, _place(after), _place(before)),
    )


def _view(
    place: GivenPlace, job_id: str, after: FailurePlace | None, before: FailurePlace | None
) -> ReasonsView:
    groups = list_failures(place.database.engine, job_id, limit=PAGE + 1, after=after, before=before)
    has_more = len(groups) > PAGE
    shown = groups if not has_more else groups[1:] if before else groups[:PAGE]
    path = f"/jobs/{job_id}/failures"
    previous = following = None
    if shown and (has_more if before else after):
        previous = address(path, {"before": str(FailurePlace.of(shown[0]))})
    if shown and (before or has_more):
        following = address(path, {"after": str(FailurePlace.of(shown[-1]))})
    return ReasonsView([ReasonShown.of(group) for group in shown], previous, following)


def _place(text: str) -> FailurePlace | None:
    return FailurePlace.from_text(text) if re.fullmatch(FAILURE_PLACE, text) else None
