"""The list of jobs; a job: how it stands, live, its rows, and why some of them failed."""

import asyncio
import re

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from worker.bootstrap.place import Place
from worker.domain.pace import nobody_calls, why_it_waits
from worker.domain.server_faults import ServerFault
from worker.domain.states import JobState
from worker.domain.words import rate, sentence
from worker.intake.result_workbooks import MOST_ROWS
from worker.jobs.results import iter_workbook
from worker.jobs.views import earlier_lines, how_it_goes
from worker.store.connectors import asks_customers
from worker.store.jobs import JobStatus, find_next_step, list_warnings, read_in_hand
from worker.store.listing import JobCounter, list_job_page
from worker.store.tallies import FailureCursor, list_failures, list_outcomes, list_pace
from worker.web.api.parameters import JobId, PageText, require_job
from worker.web.api.validation import WAYS
from worker.web.faults import FAILURE_CURSOR
from worker.web.files import attachment, download_name
from worker.web.guards import GivenPlace, PageReader
from worker.web.http_errors import HttpError
from worker.web.pages.progress import SHOWN_REASONS, JobShown, PaceKnown
from worker.web.pages.rendering import address, render, render_and_tell
from worker.web.pages.rows import AskedRows, rows_of

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

WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

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
    shown_jobs = [JobShown(job, now, other_host=_other_host(job, place)) for job in shown]
    filters = {"state": state, "q": q}
    return render(
        request,
        "pages/jobs.html",
        section="jobs",
        jobs=shown_jobs,
        states=[(name, label) for name, (label, _, _) in STATES.items()],
        state=state,
        q=q,
        here=address("/jobs", filters | {"before": before}),
        more=address("/jobs", filters | {"before": shown[-1].id}) if len(found) > PAGE else None,
        is_filtered=bool(state or q or before),
        is_live=any(not each.is_over for each in shown_jobs),
    )


@router.get("/jobs/{job_id}")
async def job_page(
    request: Request,
    job_id: JobId,
    caller: PageReader,
    place: GivenPlace,
    asked: AskedRows,
) -> Response:
    shown = await _job_now(place, job_id)
    rows = await asyncio.to_thread(rows_of, place, shown.job, shown.failures, asked)
    warnings = await asyncio.to_thread(list_warnings, place.database.engine, job_id)
    return render_and_tell(
        request, "pages/job.html", section="jobs", shown=shown, items=rows, warnings=warnings
    )


@router.get("/jobs/{job_id}/live")
async def live_part(
    request: Request,
    job_id: JobId,
    caller: PageReader,
    place: GivenPlace,
    known: PageText = "",
    pace: PageText = "",
) -> Response:
    """The parts of the page that have changed. `known`: the tags of those that the page has; `pace`: what it has of the chart."""
    shown = await _job_now(place, job_id)
    shown.pace_known = PaceKnown.from_text(pace)
    return render(request, "pages/job_live.html", shown=shown, known=frozenset(known.split(",")))


@router.get("/jobs/{job_id}/rows")
def rows_part(
    request: Request, job_id: JobId, caller: PageReader, place: GivenPlace, asked: AskedRows
) -> Response:
    """The table alone, as it stands now."""
    job = require_job(place, job_id)
    return render(request, "pages/items_table.html", job=job, items=rows_of(place, job, (), asked))


@router.get("/jobs/{job_id}/results.xlsx")
def results_workbook(job_id: JobId, caller: PageReader, place: GivenPlace) -> Response:
    """The result file as a workbook."""
    job = require_job(place, job_id)
    if job.total > MOST_ROWS:
        detail = f"A sheet has no room for more than {MOST_ROWS:,} rows: take the CSV."
        raise HttpError(409, "too_many_rows", detail)
    pieces = iter_workbook(place.database.engine, job_id, ways=WAYS)
    return StreamingResponse(
        pieces, media_type=WORKBOOK, headers=attachment(download_name(job, "results", "xlsx"))
    )


async def _job_now(place: Place, job_id: str) -> JobShown:
    """The job as it stands now, at constant cost. Raises: HttpError (404)."""
    shown = await asyncio.to_thread(_read_job, place, job_id)
    if shown.job.state is JobState.RUNNING and shown.other_host is None:
        shown.calls, shown.calls_note = await _calls(place, shown.job.instance_id)
    return shown


def _read_job(place: Place, job_id: str) -> JobShown:
    engine = place.database.engine
    job, now = require_job(place, job_id), place.clock.now()
    points = list_pace(engine, job_id)
    is_moving = job.state is JobState.RUNNING or job.is_ending
    step = None
    if is_moving:
        step = find_next_step(engine, job, workers_began_ago_s=place.find_workers_began_ago_s())
    shown = JobShown(
        job,
        now,
        going=how_it_goes(job, points, step, now),
        in_hand=read_in_hand(engine, job_id),
        other_host=_other_host(job, place),
        pace_points=points,
        earlier=list(earlier_lines(engine, job.done_by)),
        outcomes=(list_outcomes(engine, job_id) or ()) if job.installed else (),
        failures=list_failures(engine, job_id, limit=SHOWN_REASONS) if job.failed else (),
        asks_customers=bool(job.installed) and asks_customers(engine, job_id),
    )
    if step is not None and shown.stands_still:
        shown.why = sentence(why_it_waits(job.state, step))
    return shown


async def _calls(place: Place, instance_id: str) -> tuple[str | None, str]:
    """The rate of calls now, and what holds it back."""
    state = await place.limiter_state(instance_id)
    if state is None:
        return None, ""
    if isinstance(state, ServerFault):
        return "none", nobody_calls(state)
    figure = f"{rate(state.rate_per_second)}/s" if state.may_call else "none"
    return figure, state.holds_back or f"at most, for all jobs together{state.pace.whose}"


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
    before_this, after_that = _cursor(before), _cursor(after)
    groups = list_failures(
        place.database.engine, job_id, limit=PAGE + 1, after=after_that, before=before_this
    )
    has_more = len(groups) > PAGE
    shown = groups if not has_more else groups[1:] if before_this else groups[:PAGE]
    path = f"/jobs/{job_id}/failures"
    previous = following = None
    if shown and (has_more if before_this else after_that):
        previous = address(path, {"before": str(FailureCursor.of(shown[0]))})
    if shown and (before_this or has_more):
        following = address(path, {"after": str(FailureCursor.of(shown[-1]))})
    return render(
        request,
        "pages/failures.html",
        section="jobs",
        shown=JobShown(job, place.clock.now(), other_host=_other_host(job, place)),
        reasons=shown,
        previous=previous,
        next=following,
    )


def _cursor(text: str) -> FailureCursor | None:
    return FailureCursor.from_text(text) if re.fullmatch(FAILURE_CURSOR, text) else None


def _other_host(job: JobStatus, place: Place) -> str | None:
    """The host of its Cyclr, where it is of another one than this server works for."""
    return None if job.instance_id == place.database.instance_id else job.api_host
