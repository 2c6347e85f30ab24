"""The list of jobs."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from worker.bootstrap.place import Place
from worker.domain.states import JobState
from worker.store.api_keys import list_keys
from worker.store.jobs import JobStatus
from worker.store.listing import JobCounter, list_api_hosts, list_job_page
from worker.web.api.parameters import PageText
from worker.web.guards import GivenPlace, PageReader
from worker.web.pages.looks import Look
from worker.web.pages.rendering import render

PAGE = 25
COMMAND = "the command line"
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
    looks = _looks(place, shown)
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


def handed_in_by(job: JobStatus, names: Mapping[str, str]) -> str:
    """`names`: API key id -> its name."""
    return COMMAND if job.api_key_id is None else names.get(job.api_key_id, job.api_key_id)


def key_names(place: Place) -> dict[str, str]:
    return {key.id: key.name for key in list_keys(place.database.engine)}


def other_host(job: JobStatus, place: Place) -> str | None:
    """The host of its Cyclr, where it is of another one than this server works for."""
    if job.instance_id == place.database.instance_id:
        return None
    return list_api_hosts(place.database.engine)[job.instance_id]


def _looks(place: Place, jobs: Sequence[JobStatus]) -> list[Look]:
    names, now = key_names(place), place.clock.now()
    return [
        Look(job, now, handed_in_by=handed_in_by(job, names), other_host=other_host(job, place))
        for job in jobs
    ]


def _address(query: Mapping[str, str]) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"/jobs?{urlencode(given)}" if given else "/jobs"
