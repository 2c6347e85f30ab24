"""A job as the API shows it; the same one way for every address."""

import hashlib
import re

from worker.bootstrap.place import Place
from worker.jobs.standing import read_going
from worker.store.api_keys import list_keys
from worker.store.jobs import JobStatus, list_warnings
from worker.store.listing import ItemFilter, find_job, list_api_hosts, list_items
from worker.store.tallies import FailurePlace
from worker.web.api.models import Job, JobWithWarnings, to_job, to_job_with_warnings
from worker.web.api.parameters import LARGEST_ROW
from worker.web.faults import FAILURE_PLACE, JOB_ID
from worker.web.http_errors import HttpError


def require_job(place: Place, job_id: str) -> JobStatus:
    """Raises: HttpError (404)."""
    job = find_job(place.database.engine, job_id)
    if job is None:
        raise HttpError(404, "unknown_job", f"There is no job {job_id} here.")
    return job


def show_jobs(place: Place, jobs: list[JobStatus]) -> list[Job]:
    engine = place.database.engine
    hosts = list_api_hosts(engine)
    names = {key.id: key.name for key in list_keys(engine)} if any(job.api_key_id for job in jobs) else {}
    now = place.clock.now()
    shown = []
    for job in jobs:
        shown.append(
            to_job(
                job,
                api_host=hosts[job.instance_id],
                handed_in_by=names.get(job.api_key_id or ""),
                going=read_going(engine, job, now),
                worked_s=job.worked_for_s(now),
            )
        )
    return shown


def show_job(place: Place, job: JobStatus) -> Job:
    [shown] = show_jobs(place, [job])
    return shown


def show_job_with_warnings(place: Place, job: JobStatus) -> JobWithWarnings:
    warnings = list_warnings(place.database.engine, job.id) if job.warning_count else []
    return to_job_with_warnings(show_job(place, job), warnings)


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
    found = (
        list_items(place.database.engine, job_id, ItemFilter(), after=row - 1, limit=1)
        if 0 < row <= LARGEST_ROW
        else ()
    )
    if not found or found[0].row_number != row:
        raise _wrong_cursor("another text")
    return row


def require_failures_before(cursor: str | None) -> FailurePlace | None:
    """The place of the last reason of the page before. Raises: HttpError (400) where the cursor is none of ours."""
    if cursor is None:
        return None
    # Its reason may have more rows by now, or none: the place is good all the same.
    if not re.fullmatch(FAILURE_PLACE, cursor):
        raise _wrong_cursor("another text")
    return FailurePlace.from_text(cursor)


def _wrong_cursor(got: str) -> HttpError:
    detail = f"Expected as `cursor` the `next_cursor` of the page before this one, got {got}. Begin with the first page."
    return HttpError(400, "wrong_cursor", detail)


def tag_of(job: JobStatus) -> str:
    """Changes with the job's state and its counters."""
    parts = (
        job.id,
        job.state,
        job.pause_reason,
        job.total,
        job.held,
        job.installed,
        job.failed,
        job.cancelled,
    )
    more = (job.to_authorise, job.tried, job.refused, job.skipped, job.finished_at)
    return hashlib.sha256(repr((*map(str, parts), *map(str, more))).encode()).hexdigest()[:20]
