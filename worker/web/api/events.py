"""A job's progress as it happens: server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from worker.clock import Clock
from worker.store.jobs import JobStatus
from worker.web.api.parameters import JobId
from worker.web.api.showing import require_job, show_job, tag_of
from worker.web.guards import Reader
from worker.web.place import GivenPlace, Place
from worker.web.problems import Refusal, problems
from worker.web.streams import one_of_few

LOOK_EVERY_S = 1.0
HEARTBEAT_S = 15.0
RETRY_MS = 3_000
EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["progress", "end"]},
        "id": {"type": "string"},
        "data": {"type": "string", "description": "The job, as JSON."},
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
            "description": "`progress` events with the job, `end` when nothing of it is left to do, a comment every 15 s.",
            "content": {"text/event-stream": {"schema": EVENT}},
        },
        204: {"description": "The job has ended, and the client knows: nothing more will happen."},
        **problems(404),
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
    headers = {
        "X-Accel-Buffering": "no"
    }  # a proxy that collects the answer first would hold it back for ever
    events = _events(request, place, job, last_event_id)
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _events(
    request: Request, place: Place, job: JobStatus, known_tag: str | None
) -> AsyncIterator[str]:
    clock = Clock()
    yield f"retry: {RETRY_MS}\n\n"
    said_at = clock.moment()
    while not request.app.state.is_ending:
        tag = tag_of(job)
        if tag != known_tag:
            shown = await run_in_threadpool(show_job, place, job)
            name = "progress" if job.finished_at is None else "end"
            yield f"id: {tag}\nevent: {name}\ndata: {json.dumps(shown.model_dump(mode='json'))}\n\n"
            known_tag, said_at = tag, clock.moment()
        elif clock.since(said_at) >= HEARTBEAT_S:
            yield ": still here\n\n"
            said_at = clock.moment()
        if job.finished_at is not None:
            return
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            job = await run_in_threadpool(require_job, place, job.id)
        except Refusal:  # forgotten meanwhile
            return
