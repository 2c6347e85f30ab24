"""A job's progress as it happens: server-sent events. What many wait for is asked once for all of them."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from worker.bootstrap.place import Place
from worker.clock import Clock
from worker.store.faults import note_database_failure, note_database_success
from worker.store.jobs import JobStatus
from worker.web.access import Caller
from worker.web.api.parameters import JobId, require_job, show_job, tag_of
from worker.web.guards import GivenPlace, Reader, access_of
from worker.web.http_errors import HttpError, error_answers, problem_answer, to_http_error

ASK_EVERY_S = 1.0
HEARTBEAT_S = 10.0  # and for so long at most somebody goes on hearing who may not any more
RETRY_MS = 3_000
ASK_AGAIN_AFTER_S = 1.0  # where there was no answer
FOLLOWING = "asking for those who follow"
MOST_STREAMS = 50  # of one API key, with the sessions that were begun with it; each holds a connection
EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["progress", "end", "problem"]},
        "id": {"type": "string"},
        "data": {"type": "string", "description": "The job, as JSON; of `problem` a Problem."},
    },
}

T = TypeVar("T")
router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


async def one_of_few(request: Request, caller: Reader) -> AsyncIterator[None]:
    """A route's dependency, which lasts until its answer has ended. Raises: HttpError (429)."""
    counts: Counter[str] = request.app.state.streams
    if counts[caller.key_id] >= MOST_STREAMS:
        detail = f"This API key follows {MOST_STREAMS} jobs at once already: end one of these streams first."
        raise HttpError(429, "too_many_streams", detail, headers={"Retry-After": "30"})
    counts[caller.key_id] += 1
    try:
        yield
    finally:
        counts[caller.key_id] -= 1
        if not counts[caller.key_id]:
            del counts[caller.key_id]


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
    first = await run_in_threadpool(_event_of, place, job)
    events = _events(request, place, caller, job_id, first, last_event_id)
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


@dataclass(frozen=True, slots=True)
class _JobEvent:
    """What is sent of a job, as a `text`, as it was when it had this tag."""

    tag: str
    is_over: bool
    text: str


def _event_of(place: Place, job: JobStatus) -> _JobEvent:
    name = "progress" if job.finished_at is None else "end"
    data = json.dumps(show_job(place, job).model_dump(mode="json"))
    tag = tag_of(job)
    return _JobEvent(tag, job.finished_at is not None, f"id: {tag}\nevent: {name}\ndata: {data}\n\n")


def _following_job(place: Place, job_id: str, first: _JobEvent) -> Callable[[], _JobEvent]:
    """How the job stands, for all who follow it: what they are sent is made once, where it is something new."""
    last = first

    def ask() -> _JobEvent:
        nonlocal last
        job = require_job(place, job_id)
        if last.tag != tag_of(job):
            last = _event_of(place, job)
        return last

    return ask


async def _events(
    request: Request,
    place: Place,
    caller: Caller,
    job_id: str,
    first: _JobEvent,
    known_tag: str | None,
) -> AsyncIterator[str]:
    askers: Askers = request.app.state.askers
    news, clock = asyncio.Event(), Clock()
    may_read = partial(access_of(request).why_no_more, caller)
    who = ("caller", caller.key_id, caller.session_hash)
    with (
        askers.following(
            ("job", job_id), _following_job(place, job_id, first), every_s=ASK_EVERY_S, news=news
        ) as newest_of_job,
        askers.following(who, may_read, every_s=HEARTBEAT_S, news=news) as newest_of_caller,
    ):
        yield f"retry: {RETRY_MS}\n\n"
        said_at = clock.moment()
        seen: _JobEvent | Exception = first
        told: str | None = None  # the problem that was told last, and is not over
        while not request.app.state.is_ending:
            why_no_more = newest_of_caller()
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
                yield seen.text
                known_tag, told, said_at = seen.tag, None, clock.moment()
            if isinstance(seen, _JobEvent) and seen.is_over:
                return
            if clock.since(said_at) >= HEARTBEAT_S:
                yield ": still here\n\n"
                said_at = clock.moment()
            news.clear()
            # Now and then without news: the server may be ending.
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), ASK_EVERY_S)
            seen = newest_of_job() or seen


def _problem_event(error: HttpError) -> str:
    return f"event: problem\ndata: {bytes(problem_answer(error).body).decode()}\n\n"


class Askers:
    """Of one web process. On the server's event loop only."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, _Asker[Any]] = {}

    @contextmanager
    def following(
        self, key: Hashable, ask: Callable[[], T], *, every_s: float, news: asyncio.Event
    ) -> Iterator[Callable[[], T | Exception | None]]:
        """The question is asked, in a thread, for as long as somebody follows it: first after `every_s`, since whoever comes
        has just asked. `news` is set at every answer. Of those who come with the same key, the first one's `ask` is used.

        What is given tells the newest answer, or why there is none: never one that is older than the follower; None: nothing
        was heard yet. A follower keeps nothing: one that is slow misses what was in between, and holds up nobody.
        """
        asker = self._by_key.get(key)
        if asker is None:
            asker = self._by_key[key] = _Asker(ask, every_s)
        asker.followers.add(news)
        came_at = asker.begun
        try:
            yield lambda: asker.answer if asker.answered > came_at else None
        finally:
            asker.followers.discard(news)
            if not asker.followers and self._by_key.get(key) is asker:
                del self._by_key[key]
                asker.stop()


class _Asker(Generic[T]):
    def __init__(self, ask: Callable[[], T], every_s: float) -> None:
        self._ask = ask
        self._every_s = every_s
        self.followers: set[asyncio.Event] = set()
        self.begun = self.answered = 0  # counts: of the questions that were begun, which one `answer` is to
        self.answer: T | Exception | None = None
        self._task = asyncio.create_task(self._ask_on())

    def stop(self) -> None:
        self._task.cancel()

    async def _ask_on(self) -> None:
        while True:
            has_failed = isinstance(self.answer, Exception)
            await asyncio.sleep(min(self._every_s, ASK_AGAIN_AFTER_S) if has_failed else self._every_s)
            self.begun += 1
            try:
                self.answer = await run_in_threadpool(self._ask)
            except Exception as error:  # noqa: BLE001 - all who follow are told, and it goes on
                if not isinstance(error, HttpError):
                    note_database_failure(error, FOLLOWING)
                self.answer = error
            else:
                note_database_success(FOLLOWING)
            self.answered = self.begun
            for news in self.followers:
                news.set()
