"""`cyclr-bulk watch`: how a job goes, until it has ended or paused. The job does not mind who watches."""

from functools import partial

import typer

from worker.cli.exits import STOPPED, failures_in_words, say
from worker.cli.outcome import say_outcome
from worker.cli.progress import Display, open_display
from worker.cli.watching import LimiterNote, PaceReader, Standstill
from worker.cli.workplace import Place, opened_place, require_job
from worker.clock import Clock
from worker.domain.states import JobState
from worker.embedded import interrupts
from worker.jobs.standing import Going
from worker.store.jobs import JobStatus
from worker.store.readiness import DatabaseAway, TakesNoWrites, lost_database_in_words
from worker.store.session import Engine

LOOK_EVERY_S = 0.5


def watch_command(job_id: str) -> None:
    with failures_in_words(nothing_done="Nothing was changed."), opened_place(only_shows=True) as place:
        job = _watch(place, require_job(place, job_id))
        if not _is_over(job):
            raise typer.Exit(_left(place, job))
        code = say_end(place.database.engine, job)
    raise typer.Exit(code)


def say_end(engine: Engine, job: JobStatus) -> int:
    """Say how the job ended; the exit code."""
    code = say_outcome(
        engine,
        job,
        None,
        how_to_go_on=f"cyclr-bulk resume {job.id}",
        how_to_retry=(
            "To try the failed rows again, mend what their messages name, then:",
            f"  cyclr-bulk retry {job.id}",
        ),
    )
    say(f"Results, one line for every row: cyclr-bulk results {job.id} -o FILE")
    return code


def _watch(place: Place, job: JobStatus) -> JobStatus:
    """The job when it is over, or when nobody wants to watch or nobody works any more."""
    standstill = Standstill(place.database.engine, Clock(), place.find_workers_began_ago_s)
    pace = PaceReader(place.database.engine, Clock())
    with (
        interrupts() as asked,
        LimiterNote(partial(place.limiter, job.instance_id)) as note,
        open_display(Clock()) as display,
    ):
        while not (_is_over(job) or asked.is_set) and place.has_workers:
            job = _look(place, job, display, pace, note, standstill)
            asked.wait(LOOK_EVERY_S)
    return job


def _look(
    place: Place,
    job: JobStatus,
    display: Display,
    pace: PaceReader,
    note: LimiterNote,
    standstill: Standstill,
) -> JobStatus:
    try:
        with lost_database_in_words(place.database.engine):
            job = require_job(place, job.id)
            display.show(job, pace.read(job), note.read() or standstill.read(job))
    except TakesNoWrites:
        display.show(job, Going(), "the database takes no writes")
    except DatabaseAway:
        display.show(job, Going(), "waiting for the database")
    return job


def _is_over(job: JobStatus) -> bool:
    return job.finished_at is not None or job.state is JobState.PAUSED


def _left(place: Place, job: JobStatus) -> int:
    if place.has_workers:
        say(f"Stopped watching. Job {job.id} goes on without you; `cyclr-bulk pause {job.id}` would stop it.")
    else:
        say(f"Job {job.id} is {job.state}, and no command works in this home. Let it go on with:")
        say(f"  cyclr-bulk resume {job.id}")
    return STOPPED
