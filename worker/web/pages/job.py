"""A job: how it stands, live, and its rows."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from worker.cyclr.errors import CyclrError, LimiterAway
from worker.cyclr.slots import LimiterState
from worker.domain.states import FINAL_ITEM_STATES, ItemState, JobState
from worker.domain.verdicts import WAITS_FOR_CREDENTIAL, WAITS_FOR_CUSTOMER
from worker.domain.wording import in_words
from worker.store.connectors import asks_customers
from worker.store.jobs import JobStatus, list_warnings, read_in_hand
from worker.store.listing import ItemFilter, find_job, list_items
from worker.store.new_rows import HELD_UNTIL
from worker.store.next_step import find_next_step, why_it_waits
from worker.store.tallies import list_failures, list_pace
from worker.web.guards import PageReader
from worker.web.pages import words
from worker.web.pages.jobs import handed_in_by, key_names, other_host
from worker.web.pages.looks import Look
from worker.web.pages.notices import find_notice, shown_once
from worker.web.pages.rendering import render
from worker.web.place import GivenPlace, Place
from worker.web.problems import Refusal

PAGE = 25
# The filter's words -> what they mean in the table.
STATES: dict[str, tuple[str, ItemFilter]] = {
    "": ("all", ItemFilter()),
    "installed": ("installed", ItemFilter(state=ItemState.INSTALLED)),
    "to-authorise": ("to be authorised", ItemFilter(to_authorise=True)),
    "failed": ("failed", ItemFilter(state=ItemState.FAILED)),
    "cancelled": ("cancelled", ItemFilter(state=ItemState.CANCELLED)),
    "running": ("in hand", ItemFilter(state=ItemState.RUNNING)),
    "retrying": ("retrying", ItemFilter(state=ItemState.QUEUED, tried=True)),
    "queued": ("waiting", ItemFilter(state=ItemState.QUEUED, tried=False)),
}

router = APIRouter()


@router.get("/jobs/{job_id}")
async def job_page(
    request: Request,
    job_id: str,
    caller: PageReader,
    place: GivenPlace,
    state: str = "",
    code: str = "",
    account: str = "",
    after: int = 0,
) -> Response:
    look = await look_at(place, job_id)
    rows = await asyncio.to_thread(_rows, place, look, state, code, account.strip(), max(0, after))
    warnings = await asyncio.to_thread(list_warnings, place.database.engine, job_id)
    notice = find_notice(request)
    page = render(
        request, "pages/job.html", section="jobs", look=look, items=rows, notice=notice, warnings=warnings
    )
    return shown_once(page, notice)


@router.get("/jobs/{job_id}/live")
async def live_part(request: Request, job_id: str, caller: PageReader, place: GivenPlace) -> Response:
    """The part of the page that moves."""
    return render(request, "pages/job_live.html", look=await look_at(place, job_id))


def require_job(place: Place, job_id: str) -> JobStatus:
    """Raises: Refusal (404)."""
    job = find_job(place.database.engine, job_id)
    if job is None:
        raise Refusal(404, "unknown_job", f"There is no job {job_id[:40]} here.")
    return job


async def look_at(place: Place, job_id: str) -> Look:
    """The job as it stands now, at constant cost. Raises: Refusal (404)."""
    look = await asyncio.to_thread(_look, place, job_id)
    if look.job.state is JobState.RUNNING and look.other_host is None:
        look.calls, look.calls_note = await _calls(place)
    return look


def _look(place: Place, job_id: str) -> Look:
    engine = place.database.engine
    job = require_job(place, job_id)
    look = Look(
        job,
        place.clock.now(),
        in_hand=read_in_hand(engine, job_id),
        handed_in_by=handed_in_by(job, key_names(place)),
        other_host=other_host(job, place),
        pace_points=list_pace(engine, job_id),
        failure_groups=list_failures(engine, job_id) if job.failed else (),
        asks_customers=bool(job.installed) and asks_customers(engine, job_id),
    )
    if look.stands_still:
        step = find_next_step(engine, job, workers_began_ago_s=place.find_workers_began_ago_s())
        look.why = words.sentence(why_it_waits(job, step))
    return look


async def _calls(place: Place) -> tuple[str | None, str]:
    """The rate of calls now, and what holds it back."""
    with suppress(CyclrError):
        _, limiter = await place.cyclr()
        try:
            return _limit_in_words(await limiter.state())
        except LimiterAway:
            return "none", "the limiter does not answer"
    return None, ""


def _limit_in_words(state: LimiterState) -> tuple[str, str]:
    rate = f"{state.rate_per_second:g}/s"
    if state.outage_level:
        return "none", f"Cyclr does not answer; asked again in {in_words(state.gate_closed_for_s)}"
    if state.gate_closed_for_s > 0:
        return "none", f"Cyclr asked for a pause, {in_words(state.gate_closed_for_s)} left"
    if state.rate_per_second < 0.98 * state.pace.per_second:
        return rate, f"at most; slowed down from {state.pace} as Cyclr asked"
    return rate, f"at most, for all jobs together{state.pace.whose}"


@dataclass(frozen=True, slots=True)
class RowView:
    """A row of the table. `what`: what came of it, or of the last try."""

    row_number: int
    account_id: str
    name: str
    state_name: str
    state_in_words: str
    what: str
    attempts: int


@dataclass(frozen=True, slots=True)
class RowsView:
    """A page of the table. `first`, `next`: addresses; None: there is no such page."""

    rows: Sequence[RowView]
    states: Sequence[tuple[str, str]]
    state: str
    codes: Sequence[tuple[str, str]]
    code: str
    account: str
    is_filtered: bool
    here: str
    first: str | None
    next: str | None
    page_size: int = PAGE


def _rows(place: Place, look: Look, state: str, code: str, account: str, after: int) -> RowsView:
    wanted = STATES.get(state, STATES[""])[1]
    narrowed = ItemFilter(
        state=wanted.state,
        tried=wanted.tried,
        to_authorise=wanted.to_authorise,
        codes=(code,) if code else (),
        account_begins=account or None,
    )
    found = list_items(place.database.engine, look.job.id, narrowed, after=after, limit=PAGE + 1)
    shown = found[:PAGE]
    query = {"state": state, "code": code, "account": account}
    return RowsView(
        rows=[to_row(item) for item in shown],
        states=[(name, label) for name, (label, _) in STATES.items()],
        state=state,
        codes=[(reason.code, reason.heading) for reason in look.failures],
        code=code,
        account=account,
        is_filtered=bool(state or code or account),
        here=_address(look.job.id, query | {"after": str(after) if after else ""}).partition("#")[0],
        first=_address(look.job.id, query) if after else None,
        next=_address(look.job.id, query | {"after": str(shown[-1].row_number)})
        if len(found) > PAGE
        else None,
    )


def to_row(item: Any) -> RowView:
    is_held = item.due_at == HELD_UNTIL
    name, label = words.item_state(
        item.state, tried=item.tried, is_held=is_held, to_authorise=item.to_authorise
    )
    return RowView(item.row_number, item.account_id, item.name, name, label, _what(item), item.attempts)


def _what(item: Any) -> str:
    if item.state == ItemState.INSTALLED:
        parts = [words.OUTCOMES.get(item.outcome, "Installed")]
        if item.is_authenticated is False:
            parts.append(WAITS_FOR_CUSTOMER if item.to_authorise else WAITS_FOR_CREDENTIAL)
        return "; ".join(parts)
    if item.state in FINAL_ITEM_STATES or item.tried:
        return item.message or ""
    return ""


def _address(job_id: str, query: Mapping[str, str]) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"/jobs/{job_id}{'?' if given else ''}{urlencode(given)}#items"
