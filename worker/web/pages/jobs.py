"""The list of jobs."""

from collections.abc import Mapping
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from worker.bootstrap.place import Place
from worker.domain.states import JobState
from worker.store.jobs import JobStatus
from worker.store.listing import JobCounter, list_job_page
from worker.web.api.parameters import PageText
from worker.web.guards import GivenPlace, PageReader
from worker.web.pages.looks import JobShown
from worker.web.pages.rendering import render

PAGE = 25
# The filter's words -> the jobs that they mean: in one of these states, with a row that this counter counts.
STATES: dict[str, tuple[str, tuple[JobState, ...], JobCounter | None]] = {
    "": ("all", (), None),
    "running": ("running", (JobState.RUNNING, JobState.LOADING), None),
    "paused": ("paused", (JobState.PAUSED,), None),
    "completed": ("completed", (JobState.COMPLETED,), None),
    "cancelled": ("cancelled", (JobState.CANCELLED,), None),
    "failed": ("with failed rows", (), "failed"),
    "to-authorise": ("to be authorised", (), "to_authorise"),
}

router = APIRouter()


@router.get("/jobs")
def jobs_page(
    request: Request,
    caller: PageReader,
    place: GivenPlace,
    state: PageText = "",
    q: PageText = "",
    before: PageText = "",
) -> Response:
    engine = place.database.engine
    _, states, has = STATES.get(state, STATES[""])
    found = list_job_page(
        engine, states=states, has=has, text=q.strip(), before=before or None, limit=PAGE + 1
    )
    shown = found[:PAGE]
    now = place.clock.now()
    looks = [JobShown(job, now, other_host=other_host(job, place)) for job in shown]
    filters = {"state": state, "q": q}
    return render(
        request,
        "pages/jobs.html",
        section="jobs",
        jobs=looks,
        states=[(name, label) for name, (label, _, _) in STATES.items()],
        state=state,
        q=q,
        here=_address(filters | {"before": before}),
        more=_address(filters | {"before": shown[-1].id}) if len(found) > PAGE else None,
        is_filtered=bool(state or q or before),
        is_live=any(not look.is_over for look in looks),
    )


def other_host(job: JobStatus, place: Place) -> str | None:
    """The host of its Cyclr, where it is of another one than this server works for."""
    return None if job.instance_id == place.database.instance_id else job.api_host


def _address(query: Mapping[str, str]) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"/jobs?{urlencode(given)}" if given else "/jobs"
