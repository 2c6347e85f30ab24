"""How a job stands, in words that every surface shares."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from worker.domain.states import PAUSE_MESSAGES, JobState
from worker.store.jobs import JobStatus
from worker.store.tallies import PacePoint

RATE_OVER_S = 30


def state_in_words(job: JobStatus) -> str:
    """`running`, `paused (paused by a person)`, `cancelled, and not all of its rows are`."""
    if job.pause_reason is not None:
        return f"paused ({PAUSE_MESSAGES[job.pause_reason]})"
    if is_ending(job):
        return "cancelled, and some of its rows are not final yet"
    return job.state


def is_ending(job: JobStatus) -> bool:
    return job.state is JobState.CANCELLED and job.finished_at is None


def refusal_in_words(job: JobStatus, deed: str) -> str:
    """`deed`: as in "it cannot be paused"."""
    return f"Job {job.id} cannot be {deed}: it is {state_in_words(job)}."


def rows_per_second(job: JobStatus, points: Sequence[PacePoint], now: datetime) -> float:
    """Of the last half minute while it runs, of the whole time when it is over; 0 where nothing ended."""
    if job.started_at is None:
        return 0.0
    if job.finished_at is not None:
        took_s = (job.finished_at - job.started_at).total_seconds()
        return job.final / took_s if took_s > 0 else 0.0
    since = max(job.started_at, now - timedelta(seconds=RATE_OVER_S))
    lately = [point for point in points if point.at + timedelta(seconds=point.over_s) > since]
    if not lately or now <= since:
        return 0.0
    began = min(since, lately[0].at)
    return sum(point.installed + point.failed for point in lately) / (now - began).total_seconds()


def seconds_left(job: JobStatus, per_second: float) -> float | None:
    """Of a running job, at this rate; None where it is not known."""
    left = job.left - job.held
    return left / per_second if job.state is JobState.RUNNING and per_second > 0 and left > 0 else None
