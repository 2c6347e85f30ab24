"""A job's progress as it happens: server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from worker.clock import Clock
from worker.store.jobs import JobStatus
from worker.web.access import Caller
from worker.web.api.parameters import JobId
from worker.web.api.showing import require_job, show_job, tag_of
from worker.web.following import Askers
from worker.web.guards import Reader, access_of
from worker.web.http_errors import HttpError, error_answers, problem_answer, to_http_error
from worker.web.place import GivenPlace, Place
from worker.web.streams import one_of_few

LOOK_EVERY_S = 1.0
HEARTBEAT_S = 10.0  # and for so long at most somebody goes on hearing who may not any more
RETRY_MS = 3_000
EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["progress", "end", "problem"]},
        "id": {"type": "string"},
        "data": {"type": "string", "description": "The job, as JSON; of `problem` a Problem."},
    },
}

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


@router.get(
    "/events",
    operation_id="followJob",
    summary="A job's progress as it happens",
    response_class=StreamingResponse,
    dependencies=[Depends(one_of_few)],
    responses={
        200: {
            "description": "`progress` events with the job, `end` when nothing of it is left to do, a comment every 10 s."
            " `problem`: nothing can be told; with a 401 or a 404 it is the last one, with a 503 the stream goes on.",
            "content": {"text/event-stream": {"schema": EVENT}},
        },
        204: {"description": "The job has ended, and the client knows: nothing more will happen."},
        **error_answers(404),
    },
)
async def follow(
    request: Request,
    job_id: JobId,
    caller: Reader,
    place: GivenPlace,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", description="The `id` of the last event that came.")
    ] = None,
) -> Response:
    """Server-sent events. A client that comes back with Last-Event-ID is told only what it does not know."""
    job = await run_in_threadpool(require_job, place, job_id)
    if job.finished_at is not None and last_event_id == tag_of(job):
        return Response(status_code=204)
    # A proxy that collects the answer first would hold it back for ever.
    headers = {"X-Accel-Buffering": "no"}
    first = await run_in_threadpool(_sight, place, job)
    events = _events(request, place, caller, job_id, first, last_event_id)
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


@dataclass(frozen=True, slots=True)
class _Sight:
    """A job as it was seen. `event`: what is sent of it."""

    tag: str
    is_over: bool
    event: str


class _Look:
    """How a job stands: a question for all who follow it. What they are sent is made once, where it is something new."""

    def __init__(self, place: Place, job_id: str, last: _Sight) -> None:
        self._place, self._job_id, self._last = place, job_id, last

    def __call__(self) -> _Sight:
        job = require_job(self._place, self._job_id)
        if self._last.tag != tag_of(job):
            self._last = _sight(self._place, job)
        return self._last


def _sight(place: Place, job: JobStatus) -> _Sight:
    name = "progress" if job.finished_at is None else "end"
    data = json.dumps(show_job(place, job).model_dump(mode="json"))
    tag = tag_of(job)
    return _Sight(tag, job.finished_at is not None, f"id: {tag}\nevent: {name}\ndata: {data}\n\n")


async def _events(
    request: Request,
    place: Place,
    caller: Caller,
    job_id: str,
    first: _Sight,
    known_tag: str | None,
) -> AsyncIterator[str]:
    askers: Askers = request.app.state.askers
    news, clock = asyncio.Event(), Clock()
    may_read = partial(access_of(request).why_no_more, caller)
    who = ("caller", caller.key_id, caller.session_hash)
    with (
        askers.following(
            ("job", job_id), _Look(place, job_id, first), every_s=LOOK_EVERY_S, news=news
        ) as looks,
        askers.following(who, may_read, every_s=HEARTBEAT_S, news=news) as callers,
    ):
        yield f"retry: {RETRY_MS}\n\n"
        said_at = clock.moment()
        seen: _Sight | Exception = first
        told: str | None = None  # the problem that was told last, and is not over
        while not request.app.state.is_ending:
            why_no_more = callers.answer
            if isinstance(why_no_more, str):
                yield _problem_event(HttpError(401, "access_ended", why_no_more))
                return
            if isinstance(why_no_more, Exception):
                # While nobody knows whether the caller still may, nothing of the job is told.
                seen = why_no_more
            if isinstance(seen, Exception):
                error = to_http_error(seen)
                said = _problem_event(error)
                if said != told:
                    yield said
                    told, said_at = said, clock.moment()
                if error.status_code == 404:  # forgotten meanwhile
                    return
            elif seen.tag != known_tag or told is not None:
                yield seen.event
                known_tag, told, said_at = seen.tag, None, clock.moment()
            if isinstance(seen, _Sight) and seen.is_over:
                return
            if clock.since(said_at) >= HEARTBEAT_S:
                yield ": still here\n\n"
                said_at = clock.moment()
            news.clear()
            # Now and then without news: the server may be ending.
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), LOOK_EVERY_S)
            seen = looks.answer or seen


def _problem_event(error: HttpError) -> str:
    return f"event: problem\ndata: {bytes(problem_answer(error).body).decode()}\n\n"
