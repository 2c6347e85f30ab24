"""What several addresses have in common: what they take, the job that they name, and where a page of a list begins.

Texts hold no NUL, which PostgreSQL cannot even compare with.
"""

import hashlib
import re
from typing import Annotated, Literal

from fastapi import Form, Path, Query
from pydantic import Field

from worker.bootstrap.place import Place
from worker.domain.options import AS_WRITTEN_COLUMNS
from worker.domain.reasons import KEY_PATTERN
from worker.jobs.views import Job, view_job
from worker.store.jobs import JobStatus
from worker.store.listing import find_item, find_job
from worker.store.tallies import FailureCursor
from worker.web.faults import FAILURE_CURSOR, JOB_ID, NO_NUL, UPLOAD_ID
from worker.web.http_errors import HttpError

LARGEST_ROW = 2_147_483_647
LARGEST_PAGE = 1_000
PAGE = 100

JobId = Annotated[str, Path(pattern=JOB_ID, examples=["261121-k3x9qd"])]
RowNumber = Annotated[
    int, Path(ge=1, le=LARGEST_ROW, description="The row of the file: the header is row 1.", examples=[2])
]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many at most.")]
AsWritten = Literal[AS_WRITTEN_COLUMNS]  # type: ignore[valid-type]  # the words are told once
Reason = Annotated[
    str | None,
    Query(pattern=KEY_PATTERN, description="Only failed rows of this reason: its key, as in `failures`."),
]
Text = Annotated[str | None, Query(max_length=1_000, pattern=NO_NUL)]
# The same of pages, where what is not asked for is an empty text.
PageText = Annotated[str, Query(max_length=1_000, pattern=NO_NUL)]
FormText = Annotated[str, Form(max_length=1_000, pattern=NO_NUL)]
UploadId = Annotated[str, Path(pattern=UPLOAD_ID)]
# Any text: what is none of ours is told as a wrong cursor, whatever form it has.
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before this one.")]
NextCursor = Annotated[
    str | None, Field(description="`cursor` of the next page; null: this is the last one.")
]

FILE_NAME = {
    "Content-Disposition": {"description": "The file's name.", "schema": {"type": "string"}}
}  # header of an answer that is a file


def require_job(place: Place, job_id: str) -> JobStatus:
    """Raises: HttpError (404)."""
    job = find_job(place.database.engine, job_id)
    if job is None:
        raise HttpError(404, "unknown_job", f"There is no job {job_id} here.")
    return job


def require_own_job(place: Place, job_id: str) -> JobStatus:
    """A job that the workers beside this process would take. Raises: HttpError (404, 409)."""
    job = require_job(place, job_id)
    if job.instance_id != place.database.instance_id:
        detail = f"Job {job_id} is of {job.api_host}, with the client id that it was begun with; this server is of another Cyclr."
        raise HttpError(409, "other_instance", detail)
    return job


def wrong_state(place: Place, job_id: str, deed: str) -> HttpError:
    """`deed`: as in "it cannot be paused"."""
    return HttpError(409, "wrong_state", require_job(place, job_id).cannot_be(deed))


def show_job(place: Place, job: JobStatus) -> Job:
    return view_job(place.database.engine, job, place.clock.now())


def require_job_before(place: Place, cursor: str | None) -> str | None:
    """The id of the last job of the page before. Raises: HttpError (400) where the cursor is none of ours."""
    if cursor is None:
        return None
    # A pattern first: PostgreSQL cannot even compare with NUL.
    if not re.fullmatch(JOB_ID, cursor) or find_job(place.database.engine, cursor) is None:
        raise _wrong_cursor("another text, or that of a job that was forgotten meanwhile")
    return cursor


def require_row_before(place: Place, job_id: str, cursor: str | None) -> int:
    """The number of the last row of the page before; 0: none. Raises: HttpError (400) where the cursor is none of ours."""
    if cursor is None:
        return 0
    row = int(cursor) if re.fullmatch(r"[0-9]{1,10}", cursor) else 0
    if not 0 < row <= LARGEST_ROW or find_item(place.database.engine, job_id, row) is None:
        raise _wrong_cursor("another text")
    return row


def require_item_before(cursor: str | None) -> int | None:
    """The number, over all jobs, of the last item of the page before. Raises: HttpError (400) where the cursor is none of ours."""
    if cursor is None:
        return None
    # Its job may be forgotten by now: the place is good all the same.
    if not re.fullmatch(r"[0-9]{1,18}", cursor):
        raise _wrong_cursor("another text")
    return int(cursor)


def require_failures_before(cursor: str | None) -> FailureCursor | None:
    """The place of the last reason of the page before. Raises: HttpError (400) where the cursor is none of ours."""
    if cursor is None:
        return None
    # Its reason may have more rows by now, or none: the place is good all the same.
    if not re.fullmatch(FAILURE_CURSOR, cursor):
        raise _wrong_cursor("another text")
    return FailureCursor.from_text(cursor)


def _wrong_cursor(got: str) -> HttpError:
    detail = f"Expected as `cursor` the `next_cursor` of the page before this one, got {got}. Begin with the first page."
    return HttpError(400, "wrong_cursor", detail)


def tag_of(job: JobStatus) -> str:
    """Changes with whatever is stored of the job, its state and its counters; not with the time."""
    return hashlib.sha256(repr(job).encode()).hexdigest()[:20]
