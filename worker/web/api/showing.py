"""A job as the API shows it; the same one way for every address."""

import hashlib

from worker.jobs.standing import read_going
from worker.store.api_keys import list_keys
from worker.store.jobs import JobStatus
from worker.store.listing import find_job, list_api_hosts
from worker.web.api.models import Job, to_job
from worker.web.place import Place
from worker.web.problems import Refusal


def require_job(place: Place, job_id: str) -> JobStatus:
    """Raises: Refusal (404)."""
    job = find_job(place.database.engine, job_id)
    if job is None:
        raise Refusal(404, "unknown_job", f"There is no job {job_id} here.")
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
    more = (job.tried, job.refused, job.skipped, job.finished_at)
    return hashlib.sha256(repr((*map(str, parts), *map(str, more))).encode()).hexdigest()[:20]
