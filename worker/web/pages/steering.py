"""Pause, resume, cancel, retry: each is confirmed on a page that says in numbers what will happen."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response

from worker.bootstrap.place import Place
from worker.domain import words
from worker.domain.reasons import KEY_PATTERN
from worker.domain.states import ItemState, JobState
from worker.domain.words import counted, in_words, sentence
from worker.store.jobs import JobStatus, read_in_hand
from worker.store.listing import find_item
from worker.store.steering import WrongState, retry_job
from worker.store.tallies import find_failure
from worker.web.api.parameters import LARGEST_ROW, FormText, JobId, require_own_job, wrong_state
from worker.web.api.steering import Resume, cancel, pause, resume
from worker.web.guards import GivenPlace, PageWriter
from worker.web.http_errors import HttpError
from worker.web.pages.rendering import go_and_tell, render, with_names

router = APIRouter(prefix="/jobs/{job_id}")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before something is done. `action`: where the answer is sent; `label`, `kind`: of the button that does it.
    `back`: the page to leave for, with its words; empty: the job's."""

    action: str
    heading: str
    sentences: Sequence[str]
    label: str
    kind: str = "primary"
    can: bool = True
    asks_first: bool = False
    hidden: Sequence[tuple[str, str]] = ()
    back: str = ""
    back_label: str = "Back to the job"


@router.get("/pause")
def ask_pause(request: Request, job_id: JobId, caller: PageWriter, place: GivenPlace) -> Response:
    job = require_own_job(place, job_id)
    in_hand = read_in_hand(place.database.engine, job_id).count
    sentences = [
        f"{counted(job.left, 'row')} {_is(job.left)} left. Within 2 seconds nothing new is sent to Cyclr, and they wait until"
        " somebody resumes the job."
    ]
    if in_hand:
        sentences.append(words.pausing(in_hand))
    question = Question(f"/jobs/{job_id}/pause", with_names("Pause {}?", job.source_name), sentences, "Pause")
    return _ask(request, job, question, {JobState.RUNNING})


@router.post("/pause")
def do_pause(request: Request, job_id: JobId, caller: PageWriter, place: GivenPlace) -> Response:
    require_own_job(place, job_id)
    pause(job_id, caller, place)
    return go_and_tell(request, f"/jobs/{job_id}", "paused")


@router.get("/resume")
async def ask_resume(request: Request, job_id: JobId, caller: PageWriter, place: GivenPlace) -> Response:
    job = await asyncio.to_thread(require_own_job, place, job_id)
    pace = await place.pace()
    sentences = [
        f"{counted(job.left, 'row')} {_is(job.left)} left, and go on: about {in_words(job.left / pace.per_second)} at"
        f" {pace}, if one call is enough for each."
    ]
    if job.held:
        sentences.append(f"{counted(job.held, 'row')} of them held back so far.")
    question = Question(
        f"/jobs/{job_id}/resume",
        with_names("Resume {}?", job.source_name),
        sentences,
        "Resume",
        asks_first=job.held > 0,
    )
    return _ask(request, job, question, {JobState.PAUSED})


@router.post("/resume")
def do_resume(
    request: Request, job_id: JobId, caller: PageWriter, place: GivenPlace, first: FormText = ""
) -> Response:
    resume(job_id, caller, place, Resume(first=to_count(first)))
    return go_and_tell(request, f"/jobs/{job_id}", "resumed")


@router.get("/cancel")
def ask_cancel(request: Request, job_id: JobId, caller: PageWriter, place: GivenPlace) -> Response:
    job = require_own_job(place, job_id)
    in_hand = read_in_hand(place.database.engine, job_id).count
    sentences = [
        f"{counted(max(0, job.left - in_hand), 'row')} not in hand will be cancelled; those that may have been sent are"
        " looked for first.",
        f"What is done stays done in Cyclr: {counted(job.installed, 'row')} so far.",
    ]
    if in_hand:
        sentences.insert(1, f"{counted(in_hand, 'row')} in hand of a worker will still be settled.")
    question = Question(
        f"/jobs/{job_id}/cancel",
        with_names("Cancel {}?", job.source_name),
        sentences,
        "Cancel the job",
        "danger",
    )
    return _ask(request, job, question, {JobState.RUNNING, JobState.PAUSED})


@router.post("/cancel")
def do_cancel(request: Request, job_id: JobId, caller: PageWriter, place: GivenPlace) -> Response:
    require_own_job(place, job_id)
    cancel(job_id, caller, place)
    return go_and_tell(request, f"/jobs/{job_id}", "cancelled")


@router.get("/retry")
def ask_retry(
    request: Request,
    job_id: JobId,
    caller: PageWriter,
    place: GivenPlace,
    reason: Annotated[str, Query(pattern=KEY_PATTERN)] = "",
    row: Annotated[int | None, Query(ge=1, le=LARGEST_ROW)] = None,
) -> Response:
    job = require_own_job(place, job_id)
    sentences = [
        _what_is_retried(place, job, reason),
        "Each begins anew: its account is looked into first, so nothing is done twice.",
        "Rows whose credentials are no longer kept are left out, and you are told how many.",
    ]
    if row is not None:
        sentences = [
            _how_a_row_stands(place, job, row),
            "It begins anew: its account is looked into first, so nothing is done twice.",
            "If its credentials are no longer kept it stays as it is, and you are told so.",
        ]
    if job.state is JobState.PAUSED:
        sentences.append("The job is paused: they wait until it is resumed.")
    what = f"row {row:,}" if row is not None else "rows"
    hidden = [("reason", reason)] if reason else []
    hidden += [("row", str(row))] if row is not None else []
    heading = with_names(f"Retry {what} of {{}}?", job.source_name)
    question = Question(f"/jobs/{job_id}/retry", heading, sentences, "Retry", hidden=hidden)
    ended_or_not = {JobState.RUNNING, JobState.PAUSED, JobState.COMPLETED, JobState.CANCELLED}
    return _ask(request, job, question, ended_or_not)


def _how_a_row_stands(place: Place, job: JobStatus, row: int) -> str:
    item = find_item(place.database.engine, job.id, row)
    if item is None:
        return f"Job {job.id} has no row {row:,}."
    how = f"Account {{}}, {item.state_in_words[1]}"
    if item.state == ItemState.FAILED and item.message:
        return with_names(f"{how}: {{}}", item.account_id, sentence(item.message))
    return with_names(f"{how}.", item.account_id)


def _what_is_retried(place: Place, job: JobStatus, reason: str) -> str:
    if reason:
        group = find_failure(place.database.engine, job.id, reason)
        if group is None:
            return "No row has failed for this reason any more."
        return with_names(f"{counted(group.count, 'failed row')}: {{}}", sentence(group.message))
    rows = counted(job.failed, "failed row")
    return f"{rows} and {counted(job.cancelled, 'cancelled row')}." if job.cancelled else f"{rows}."


@router.post("/retry")
def do_retry(
    request: Request,
    job_id: JobId,
    caller: PageWriter,
    place: GivenPlace,
    reason: Annotated[str, Form(pattern=KEY_PATTERN)] = "",
    row: Annotated[int | None, Form(ge=1, le=LARGEST_ROW)] = None,
) -> Response:
    require_own_job(place, job_id)
    try:
        with place.watch(job_id):
            retried = retry_job(place.database.engine, job_id, reason=reason or None, row_number=row)
    except WrongState:
        raise wrong_state(place, job_id, "retried") from None
    place.ring()
    numbers = {"queued": retried.queued, "wiped": retried.wiped, "live": retried.live}
    return go_and_tell(request, f"/jobs/{job_id}", "retried", **numbers)


def _ask(request: Request, job: JobStatus, question: Question, states: set[JobState]) -> Response:
    if job.state not in states or job.is_ending:
        sentences = [f"The job is {job.state_in_words}, so this cannot be done now."]
        question = replace(question, can=False, asks_first=False, sentences=sentences)
    return render(request, "pages/confirm.html", section="jobs", job=job, question=question)


def to_count(text: str) -> int | None:
    """None: all. Raises: HttpError."""
    if not text.strip():
        return None
    if not re.fullmatch(r"0*[1-9][0-9]{0,6}", text.strip(), re.ASCII):
        raise HttpError(
            422, "invalid_request", "How many rows: expected a whole number above 0, got something else."
        )
    return int(text)


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
