"""Jobs and what is in them, for reading."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from worker.domain.states import Code, ItemState, JobState, Outcome
from worker.domain.words import DONE
from worker.intake.columns import find_position
from worker.jobs.results import REFUSED, iter_result_file
from worker.jobs.views import Fault, Job, JobInFull, find_server_faults, view_job_in_full
from worker.store.listing import (
    AttemptMade,
    Item,
    ItemFilter,
    find_item,
    list_attempts,
    list_items,
    list_job_page,
)
from worker.store.tallies import FailureCursor, FailureReason, list_failures
from worker.web.api.parameters import (
    FILE_NAME,
    PAGE,
    Cursor,
    JobId,
    Limit,
    NextCursor,
    Reason,
    RowNumber,
    Text,
    require_failures_before,
    require_job,
    require_job_before,
    require_row_before,
    show_job,
    tag_of,
)
from worker.web.api.validation import WAYS
from worker.web.files import attachment, download_name
from worker.web.guards import GivenPlace, Reader
from worker.web.http_errors import HttpError, error_answers, invalid_request

CSV = "text/csv; charset=utf-8"
ETAG = {
    "ETag": {
        "description": "Changes with the job's state, its counters, and what ails a server.",
        "schema": {"type": "string"},
    }
}
RESULT_STATES = (DONE, *ItemState, REFUSED)

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


class Jobs(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[Job]
    next_cursor: NextCursor


class Items(BaseModel):
    """A page of items, in the order of the file."""

    items: list[Item]
    next_cursor: NextCursor


class ItemWithAttempts(Item):
    """An item and the attempts that were made at it, in their order."""

    history: list[AttemptMade]


class Failures(BaseModel):
    """A page of why items failed, the most frequent reason first. `failed`: of all reasons, also those of other pages."""

    failed: int
    reasons: list[FailureReason]
    next_cursor: NextCursor


@router.get("", operation_id="listJobs", summary="List jobs", responses=error_answers(400))
def list_all(
    caller: Reader,
    place: GivenPlace,
    state: Annotated[list[JobState] | None, Query(description="May be repeated.")] = None,
    text: Text = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Jobs:
    """The newest first. `text`: part of the file's name, or a job's id."""
    before = require_job_before(place, cursor)
    engine = place.database.engine
    found = list_job_page(engine, states=state or (), text=text or "", before=before, limit=limit + 1)
    shown = found[:limit]
    next_cursor = shown[-1].id if len(found) > limit else None
    return Jobs(jobs=[show_job(place, job) for job in shown], next_cursor=next_cursor)


@router.get(
    "/{job_id}",
    operation_id="getJob",
    summary="How a job stands",
    responses={
        200: {"headers": ETAG},
        304: {"description": "As it was when it had the ETag of If-None-Match.", "headers": ETAG},
        **error_answers(404),
    },
)
async def get(
    job_id: JobId,
    caller: Reader,
    place: GivenPlace,
    response: Response,
    if_none_match: Annotated[
        str | None, Header(alias="If-None-Match", description="The `ETag` of the answer that is known.")
    ] = None,
) -> JobInFull:
    """At the same cost whatever the job's size. Its ETag changes with its state, its counters and what ails a server."""
    engine = place.database.engine
    job = await run_in_threadpool(require_job, place, job_id)
    limiter = await place.limiter_state(job.instance_id)
    faults = await run_in_threadpool(find_server_faults, engine, limiter)
    tag = f'W/"{"-".join([tag_of(job), *(fault.tag for fault in faults)])}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = [each.strip() for each in (if_none_match or "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)  # type: ignore[return-value]
    response.headers.update(headers)
    return await run_in_threadpool(view_job_in_full, engine, job, place.clock.now(), limiter, faults)


@router.get(
    "/{job_id}/items",
    operation_id="listItems",
    summary="List a job's items",
    responses=error_answers(400, 404),
)
def list_job_items(
    job_id: JobId,
    caller: Reader,
    place: GivenPlace,
    state: ItemState | None = None,
    code: Annotated[list[Code] | None, Query(description="May be repeated.")] = None,
    outcome: Outcome | None = None,
    account_id: Text = None,
    reason: Reason = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Items:
    """In the order of the file."""
    job = require_job(place, job_id)
    after = require_row_before(place, job_id, cursor)
    wanted = ItemFilter(state=state, codes=code or (), outcome=outcome, account_id=account_id, reason=reason)
    found = list_items(
        place.database.engine,
        job_id,
        wanted,
        after=after,
        limit=limit + 1,
        reference_at=find_position(job.columns, "reference"),
    )
    shown = found[:limit]
    return Items(
        items=shown,
        next_cursor=str(shown[-1].row) if len(found) > limit else None,
    )


@router.get(
    "/{job_id}/items/{row}",
    operation_id="getItem",
    summary="An item with its attempts",
    responses=error_answers(404),
)
def get_item(job_id: JobId, row: RowNumber, caller: Reader, place: GivenPlace) -> ItemWithAttempts:
    """By the number of its row in the file."""
    job = require_job(place, job_id)
    reference_at = find_position(job.columns, "reference")
    engine = place.database.engine
    item = find_item(engine, job_id, row, reference_at=reference_at)
    if item is None:
        raise HttpError(404, "unknown_item", f"Row {row} of job {job_id} is no item.")
    return ItemWithAttempts(**dict(item), history=list_attempts(engine, job_id, row))


@router.get(
    "/{job_id}/failures",
    operation_id="listFailures",
    summary="Why items failed",
    responses=error_answers(400, 404),
)
def list_reasons(
    job_id: JobId, caller: Reader, place: GivenPlace, cursor: Cursor = None, limit: Limit = PAGE
) -> Failures:
    """Grouped by reason, the most frequent ones first; at the same cost whatever the job's size."""
    job = require_job(place, job_id)
    after = require_failures_before(cursor)
    found = list_failures(place.database.engine, job_id, limit=limit + 1, after=after)
    shown = found[:limit]
    return Failures(
        failed=job.failed,
        reasons=shown,
        next_cursor=str(FailureCursor.of(shown[-1])) if len(found) > limit else None,
    )


@router.get(
    "/{job_id}/results.csv",
    operation_id="downloadResults",
    summary="The result file",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Streamed.",
            "headers": FILE_NAME,
            "content": {"text/csv": {"schema": {"type": "string"}}},
        },
        **error_answers(404),
    },
)
def download_results(
    request: Request,
    job_id: JobId,
    caller: Reader,
    place: GivenPlace,
    state: Annotated[str | None, Query(json_schema_extra={"enum": list(RESULT_STATES)})] = None,
    reason: Reason = None,
) -> Response:
    """One line for every row of the file, in its order, as it stands now; it is a valid input. No secret is in it."""
    if state is not None and state not in RESULT_STATES:
        fault = Fault(column="state", message=f"expected one of {', '.join(RESULT_STATES)}, got another text")
        raise invalid_request(fault)
    job = require_job(place, job_id)
    pieces: Iterator[str] = iter_result_file(
        place.database.engine, job_id, state=state, reason=reason, ways=WAYS
    )
    which = f"failed-{reason}" if reason else state or "results"
    return StreamingResponse(pieces, media_type=CSV, headers=attachment(download_name(job, which)))
