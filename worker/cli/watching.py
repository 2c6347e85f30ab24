"""See a job through: keep the home going, show how it stands, and pause it when the command is asked to end."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from worker.cli.exits import say
from worker.cli.progress import open_display
from worker.clock import Clock, Moment
from worker.cyclr.errors import LimiterAway
from worker.cyclr.slots import LimiterState
from worker.domain.states import JobState, PauseReason
from worker.embedded import interrupts
from worker.jobs.away import why_nobody_calls
from worker.jobs.standing import Going, read_going
from worker.store.jobs import JobStatus, count_in_hand, get_job, pause_job
from worker.store.next_step import find_next_step, why_it_waits
from worker.store.session import Engine

if TYPE_CHECKING:
    from worker.cli.session import Session
    from worker.cyclr.limiter import Limiter

LOOK_EVERY_S = 0.2
DRAIN_MARGIN_S = 10.0


def see_through(session: "Session", job_id: str) -> JobStatus:
    """The job as it stands when it has ended or paused and nothing of it is in flight any more."""
    engine = session.database.engine
    standstill = Standstill(engine, Clock(), session.find_workers_began_ago_s)
    pace = PaceReader(engine, Clock())
    try:
        with interrupts() as asked, LimiterNote(session.limiter) as note, open_display(Clock()) as display:
            while True:
                session.tend()
                job = get_job(engine, job_id)
                display.show(job, pace.read(job), note.read() or standstill.read(job))
                if job.state is not JobState.RUNNING:
                    break
                if asked.is_set:
                    pause_job(engine, job_id, PauseReason.INTERRUPTED)
                    continue
                asked.wait(LOOK_EVERY_S)
            _drain(session, job_id)
            job = get_job(engine, job_id)
            display.show(job, pace.read(job), "")
    except KeyboardInterrupt:
        session.kill()
        say("Stopped at once. What was in flight is looked for by the next run.")
    return get_job(engine, job_id)


def _drain(session: "Session", job_id: str) -> None:
    """Wait until the workers have given back or settled what they hold, or their deadline has passed."""
    clock = Clock()
    began = clock.moment()
    while count_in_hand(session.database.engine, job_id):
        if clock.since(began) > session.settings.cyclr_timeout_s + DRAIN_MARGIN_S:
            return
        session.tend()
        # Under the caller's `interrupts`: one that was heard already would not let it wait, a second Ctrl-C ends this.
        time.sleep(LOOK_EVERY_S)


class PaceReader:
    """How a job goes, looked up once a second."""

    READ_EVERY_S = 1.0

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._going = Going()
        self._read_at: Moment | None = None

    def read(self, job: JobStatus) -> Going:
        is_old = self._read_at is None or self._clock.since(self._read_at) >= self.READ_EVERY_S
        if is_old or job.state is not JobState.RUNNING:
            self._read_at = self._clock.moment()
            self._going = read_going(self._engine, job, self._clock.now())
        return self._going


class Standstill:
    """Why nothing moves, once nothing has moved for 3 s; looked up once a second then."""

    STILL_AFTER_S = 3.0
    READ_EVERY_S = 1.0

    def __init__(
        self, engine: Engine, clock: Clock, find_workers_began_ago_s: Callable[[], float | None]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._find_workers_began_ago_s = find_workers_began_ago_s
        self._seen: tuple[JobState, int, int] | None = None
        self._moved_at = self._read_at = clock.moment()
        self._text = ""

    def read(self, job: JobStatus) -> str:
        seen = job.state, job.final, job.tried
        if seen != self._seen:
            self._seen, self._moved_at, self._text = seen, self._clock.moment(), ""
        elif (
            self._clock.since(self._moved_at) >= self.STILL_AFTER_S
            and self._clock.since(self._read_at) >= self.READ_EVERY_S
        ):
            self._read_at = self._clock.moment()
            began_ago_s = self._find_workers_began_ago_s()
            step = find_next_step(self._engine, job, workers_began_ago_s=began_ago_s)
            self._text = why_it_waits(job, step)
        return self._text


class LimiterNote:
    """What the shared limiter has to say to a person: a closed gate, a lowered rate, an outage, another one's limit."""

    READ_EVERY_S = 1.0

    def __init__(self, open_limiter: "Callable[[], Limiter | None]") -> None:
        self._open_limiter = open_limiter
        self._clock = Clock()
        self._runner = asyncio.Runner()
        self._limiter: Limiter | None = None
        self._text = ""
        self._read_at: Moment | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()
        self._runner.close()

    def read(self) -> str:
        if self._read_at is None or self._clock.since(self._read_at) >= self.READ_EVERY_S:
            self._read_at = self._clock.moment()
            self._text = self._ask()
        return self._text

    def _ask(self) -> str:
        try:
            return self._runner.run(self._describe())
        except LimiterAway as away:
            self._forget()  # a new owner of the home has a new one
            return f"waiting for the limiter: {why_nobody_calls(away)}"

    async def _describe(self) -> str:
        if self._limiter is None:
            self._limiter = self._open_limiter()
        if self._limiter is None:
            return ""
        return limiter_note(await self._limiter.state())

    def _forget(self) -> None:
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            self._runner.run(limiter.aclose())


def limiter_note(state: LimiterState) -> str:
    """What a person who knows the settings would not expect; nothing where all is as they say."""
    return what_holds_back(state) or ("" if state.pace.is_own else f"at {state.pace}")


def what_holds_back(state: LimiterState) -> str:
    """Why fewer calls are made just now than the limit allows; nothing where it is used in full."""
    if state.outage_level:
        return f"{state.outage or 'Cyclr does not answer'}, trying again in {max(1, round(state.gate_closed_for_s))} s"
    if state.gate_closed_for_s > 0:
        return f"Cyclr asked for a pause, {max(1, round(state.gate_closed_for_s))} s left"
    if state.rate_per_second < 0.98 * state.pace.per_second:
        return f"slowed to {round(state.rate_per_second, 1):g} calls/s for a while, as Cyclr asked"
    return ""
