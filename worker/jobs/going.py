"""How fast a job goes, and how long it will."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.domain.pace import NextStep
from worker.domain.states import JobState
from worker.store.jobs import JobStatus, find_next_step
from worker.store.session import Engine
from worker.store.tallies import PacePoint, list_pace

RATE_OVER_S = 30
# A time left means something once rows have ended for so long, and so many.
MEANS_AFTER_S = 10
LEAST_ENDED = 5


@dataclass(frozen=True, slots=True)
class Going:
    """How a job goes. `rows_per_second`: rows installed or failed, lately, or of all its work once it has ended; 0 where none
    ended. `seconds_left`: None where it is not known, or would mean nothing yet.
    """

    rows_per_second: float = 0.0
    seconds_left: float | None = None


def read_going(engine: Engine, job: JobStatus, now: datetime) -> Going:
    """At constant cost, whatever the job's size."""
    if job.state is not JobState.RUNNING:
        return how_it_goes(job, (), None, now)
    return how_it_goes(job, list_pace(engine, job.id), find_next_step(engine, job), now)


def how_it_goes(job: JobStatus, points: Sequence[PacePoint], step: NextStep | None, now: datetime) -> Going:
    """`step`: what the job waits for; None: nothing is known of it."""
    if job.finished_at is not None:
        worked_s = job.worked_for_s(now)
        return Going((job.installed + job.failed) / worked_s if worked_s > 0 else 0.0)
    if job.working_since is None:
        return Going()
    since = max(job.working_since, now - timedelta(seconds=RATE_OVER_S))
    lately = [point for point in points if point.at + timedelta(seconds=point.over_s) > since]
    if not lately:
        return Going()
    # From the first row on: what it took workers to start is no pace.
    is_first = all(point.at >= lately[0].at or point.at < job.working_since for point in points)
    began = lately[0].at if is_first else min(since, lately[0].at)
    over_s = max((now - began).total_seconds(), lately[0].over_s)
    ended = sum(point.installed + point.failed for point in lately)
    per_second = ended / over_s
    left = job.left - job.held
    if left <= 0 or over_s < MEANS_AFTER_S or ended < LEAST_ENDED:
        return Going(per_second)
    # What is due later, or may not be sent yet, is not done sooner, however fast the rows before it were.
    seconds_left = left / per_second
    if step is not None:
        waits_s = max(0.0, step.due_in_s or 0.0, step.gate_closed_for_s)
        seconds_left = max(waits_s + seconds_left, step.last_due_in_s or 0.0)
    return Going(per_second, seconds_left)
