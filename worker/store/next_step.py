"""Why a job stands still just now, and until when: read at constant cost, whatever its size."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine, func, select

from worker.domain.states import JobState
from worker.domain.wording import counted, in_words
from worker.domain.words import job_state_and_why
from worker.store.jobs import JobStatus
from worker.store.new_rows import HELD_UNTIL
from worker.store.session import db_now, reading
from worker.store.sightings import find_seen_ago_s
from worker.store.tables import IS_QUEUED, IS_RUNNING, instances, is_in_hand_of, items

WORKERS_START_WITHIN_S = 60.0  # two seconds on a machine with nothing else to do
UNTAKEN_AFTER_S = 5.0  # what is due for so long, with no call forbidden, should have been taken
SEEN_LATELY_S = 30.0  # a worker says every 10 s that it lives

UNTAKEN = "rows are due and no worker takes them: is one running, for this Cyclr, and does its Redis answer?"
UNTAKEN_BY_LIVING = "rows are due and no worker takes them, though one is running: does its Redis answer?"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What the job waits for, in seconds from now; below 0: that time has come.

    `in_hand`: items that workers hold; `in_hand_for_s`: until the last of these claims runs out, None where there is none.
    `due_in_s`, `last_due_in_s`: until the next item may be tried, and until all may; None where none waits.
    `is_anybody_working`: whether any item of the database is in hand. `gate_closed_for_s`: until somebody may call Cyclr.
    `seen_ago_s`: since a worker of the instance was last seen, None where none was or nothing is due.
    `workers_began_ago_s`: since the workers of a home were started; None: it is not known, or there is no home.
    """

    in_hand: int
    in_hand_for_s: float | None
    due_in_s: float | None
    gate_closed_for_s: float
    is_anybody_working: bool
    last_due_in_s: float | None = None
    seen_ago_s: float | None = None
    workers_began_ago_s: float | None = None

    @property
    def are_workers_starting(self) -> bool:
        """Whether the workers of the home have not been seen yet, and have not had the time to be."""
        began_ago_s, seen_ago_s = self.workers_began_ago_s, self.seen_ago_s
        if began_ago_s is None or began_ago_s > WORKERS_START_WITHIN_S:
            return False
        return seen_ago_s is None or seen_ago_s > began_ago_s

    @property
    def was_worker_seen(self) -> bool:
        return self.seen_ago_s is not None and self.seen_ago_s <= SEEN_LATELY_S


def find_next_step(engine: Engine, job: JobStatus, *, workers_began_ago_s: float | None = None) -> NextStep:
    """`workers_began_ago_s`: as in `NextStep`."""
    with reading(engine) as connection:
        now = db_now(connection)
        claims = select(func.count(), func.max(items.c.claim_until)).where(is_in_hand_of(job.id))
        in_hand, last_claim = connection.execute(claims).one()
        working = connection.execute(select(items.c.id).where(IS_RUNNING).limit(1)).first()
        gate = select(instances.c.gate_until).where(instances.c.id == job.instance_id)
        step = NextStep(
            in_hand,
            _until(last_claim, now),
            _until(_next_due(connection, job.id), now),
            max(0.0, _until(connection.execute(gate).scalar(), now) or 0.0),
            working is not None,
            _until(_last_due(connection, job.id), now),
            workers_began_ago_s=workers_began_ago_s,
        )
    is_untaken = step.due_in_s is not None and step.due_in_s <= 0 and not step.is_anybody_working
    return replace(step, seen_ago_s=find_seen_ago_s(engine, job.instance_id)) if is_untaken else step


def _next_due(connection: Connection, job_id: str) -> datetime | None:
    waiting = select(items.c.due_at).where(items.c.job_id == job_id, IS_QUEUED)
    # In the order of its index, read from the other end: those that are held back come last.
    first = connection.execute(waiting.order_by(items.c.due_at, items.c.id.desc()).limit(1)).scalar()
    return None if first == HELD_UNTIL else first


def _last_due(connection: Connection, job_id: str) -> datetime | None:
    waiting = select(items.c.due_at).where(items.c.job_id == job_id, IS_QUEUED, items.c.due_at < HELD_UNTIL)
    last: datetime | None = connection.execute(
        waiting.order_by(items.c.due_at.desc(), items.c.id).limit(1)
    ).scalar()
    return last


def _until(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else (at - now).total_seconds()


def why_it_waits(job: JobStatus, step: NextStep) -> str:
    """One line for people; nothing where nothing is to be said."""
    match job.state:
        case JobState.LOADING:
            return "its rows are being written"
        case JobState.PAUSED:
            return job_state_and_why(job.state, job.pause_reason, is_ending=False)
        case JobState.COMPLETED:
            return ""
    if step.gate_closed_for_s > 0:
        return f"nobody may call Cyclr for another {in_words(step.gate_closed_for_s)}"
    if step.in_hand and step.in_hand_for_s is not None:
        return _what_is_in_hand(step.in_hand, step.in_hand_for_s)
    if step.due_in_s is None:
        return ""
    if step.due_in_s > 0:
        return f"next try in {in_words(step.due_in_s)}"
    return "" if step.is_anybody_working else _why_nobody_takes_it(step, untaken_for_s=-step.due_in_s)


def _why_nobody_takes_it(step: NextStep, *, untaken_for_s: float) -> str:
    if step.are_workers_starting:
        return "the workers are starting"
    if step.was_worker_seen:
        # Seen, so it is about to take them; unless it has no limiter to ask, or is never rung.
        return UNTAKEN_BY_LIVING if untaken_for_s > SEEN_LATELY_S else ""
    return UNTAKEN if untaken_for_s > UNTAKEN_AFTER_S else ""


def _what_is_in_hand(count: int, for_s: float) -> str:
    rows = counted(count, "row")
    if for_s > 0:
        return f"{rows} in hand: answered, or taken back from a lost worker, within {in_words(for_s)}"
    return f"{rows} of a lost worker, about to be taken back"
