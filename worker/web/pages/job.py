"""A job: how it stands, live, and its rows."""

import asyncio
from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.responses import Response

from worker.bootstrap.place import Place
from worker.cyclr.errors import CyclrError, LimiterAway
from worker.domain.pace import nobody_calls, why_it_waits
from worker.domain.states import JobState
from worker.domain.wording import rate, sentence
from worker.jobs.away import why_nobody_calls
from worker.jobs.standing import how_it_goes, is_ending
from worker.store.connectors import asks_customers
from worker.store.jobs import JobStatus, find_next_step, list_warnings, read_in_hand
from worker.store.listing import find_job
from worker.store.tallies import list_failures, list_pace
from worker.web.api.parameters import JobId, PageText
from worker.web.guards import GivenPlace, PageReader
from worker.web.http_errors import HttpError
from worker.web.pages.jobs import other_host
from worker.web.pages.looks import SHOWN_REASONS, JobShown, PaceKnown
from worker.web.pages.rendering import render, render_and_tell
from worker.web.pages.rows import AskedRows, rows_of

router = APIRouter()


@router.get("/jobs/{job_id}")
async def job_page(
    request: Request,
    job_id: JobId,
    caller: PageReader,
    place: GivenPlace,
    asked: AskedRows,
) -> Response:
    look = await look_at(place, job_id)
    rows = await asyncio.to_thread(rows_of, place, look.job, look.failures, asked)
    warnings = await asyncio.to_thread(list_warnings, place.database.engine, job_id)
    return render_and_tell(
        request, "pages/job.html", section="jobs", look=look, items=rows, warnings=warnings
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
    look = await look_at(place, job_id)
    look.pace_known = PaceKnown.from_text(pace)
    return render(request, "pages/job_live.html", look=look, known=frozenset(known.split(",")))


@router.get("/jobs/{job_id}/rows")
def rows_part(
    request: Request, job_id: JobId, caller: PageReader, place: GivenPlace, asked: AskedRows
) -> Response:
    """The table alone, as it stands now."""
    job = require_job(place, job_id)
    return render(request, "pages/items_table.html", job=job, items=rows_of(place, job, (), asked))


def require_job(place: Place, job_id: str) -> JobStatus:
    """Raises: HttpError (404)."""
    job = find_job(place.database.engine, job_id)
    if job is None:
        raise HttpError(404, "unknown_job", f"There is no job {job_id[:40]} here.")
    return job


async def look_at(place: Place, job_id: str) -> JobShown:
    """The job as it stands now, at constant cost. Raises: HttpError (404)."""
    look = await asyncio.to_thread(_look, place, job_id)
    if look.job.state is JobState.RUNNING and look.other_host is None:
        look.calls, look.calls_note = await _calls(place)
    return look


def _look(place: Place, job_id: str) -> JobShown:
    engine = place.database.engine
    job, now = require_job(place, job_id), place.clock.now()
    points = list_pace(engine, job_id)
    is_moving = job.state is JobState.RUNNING or is_ending(job)
    step = None
    if is_moving:
        step = find_next_step(engine, job, workers_began_ago_s=place.find_workers_began_ago_s())
    look = JobShown(
        job,
        now,
        going=how_it_goes(job, points, step, now),
        in_hand=read_in_hand(engine, job_id),
        other_host=other_host(job, place),
        pace_points=points,
        failure_groups=list_failures(engine, job_id, limit=SHOWN_REASONS) if job.failed else (),
        asks_customers=bool(job.installed) and asks_customers(engine, job_id),
    )
    if step is not None and look.stands_still:
        look.why = sentence(why_it_waits(job.state, step))
    return look


async def _calls(place: Place) -> tuple[str | None, str]:
    """The rate of calls now, and what holds it back."""
    with suppress(CyclrError):
        _, limiter = await place.cyclr()
        try:
            state = await limiter.state()
        except LimiterAway as away:
            return "none", nobody_calls(why_nobody_calls(away))
        figure = f"{rate(state.rate_per_second)}/s" if state.may_call else "none"
        return figure, state.holds_back or f"at most, for all jobs together{state.pace.whose}"
    return None, ""
