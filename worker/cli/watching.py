"""See a job through: keep the home going, show how it stands, and pause it when the command is asked to end. How it stands is a bar
on a terminal, and a plain line every 10 s elsewhere.

`cyclr-bulk watch`: how a job goes, until it has ended or paused. The job does not mind who watches.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, Self, cast

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.status import Status
from rich.table import Table
from rich.text import Text

from worker.bootstrap.place import Place
from worker.cli.options import JobArgument
from worker.cli.place import opened_place, require_job
from worker.cli.report import is_left_alone, say_outcome, ways_lines
from worker.cli.terminal import STOPPED, Drawing, failures_in_words, say, visible_line
from worker.clock import Clock, Moment
from worker.cyclr.errors import LimiterAway
from worker.domain.options import RunOptions
from worker.domain.pace import nobody_calls, why_it_waits
from worker.domain.states import JobState, PauseReason
from worker.domain.words import in_words, rate
from worker.embedded import interrupts
from worker.intake.columns import find_position
from worker.jobs.views import Going, read_going, why_nobody_calls
from worker.store.connectors import find_key
from worker.store.faults import DatabaseAway, TakesNoWrites, database_fault, lost_database_in_words
from worker.store.job_states import pause_job
from worker.store.jobs import JobStatus, find_next_step, get_job, read_in_hand
from worker.store.session import Engine
from worker.store.tallies import list_failures

if TYPE_CHECKING:
    from worker.cli.home import TendedHome
    from worker.cyclr.limiter import Limiter

LOOK_EVERY_S = 0.2
WATCH_EVERY_S = 0.5
DRAIN_MARGIN_S = 10.0
LINE_EVERY_S = 10.0
BAR_COLUMNS = 30
APART = "   "
WATCH_EXAMPLES = """\b
Example:
  cyclr-bulk watch 261121-k3x9qd

\b
Exit codes:
  0  all rows are done; some may wait for the customer's authorisation
  1  some rows failed or were refused
  2  no such job, or a setting is wrong
  3  paused or cancelled, or you stopped watching"""

app = typer.Typer(rich_markup_mode=None)


def see_through(home: "TendedHome", job_id: str) -> JobStatus:
    """The job as it stands when it has ended or paused and nothing of it is in flight any more."""
    engine = home.database.engine
    standstill = Standstill(engine, Clock(), home.find_workers_began_ago_s)
    pace = PaceReader(engine, Clock())
    try:
        with interrupts() as asked, LimiterNote(home.limiter) as note, open_display(Clock()) as display:
            while True:
                home.tend()
                job = get_job(engine, job_id)
                display.show(job, pace.read(job), note.read() or standstill.read(job))
                if job.state is not JobState.RUNNING:
                    break
                if asked.is_set:
                    pause_job(engine, job_id, PauseReason.INTERRUPTED)
                    continue
                asked.wait(LOOK_EVERY_S)
            _drain(home, job_id)
            job = get_job(engine, job_id)
            display.show(job, pace.read(job), "")
    except KeyboardInterrupt:
        home.kill()
        say("Stopped at once. What was in flight is looked for by the next run.")
    return get_job(engine, job_id)


def _drain(home: "TendedHome", job_id: str) -> None:
    """Wait until the workers have given back or settled what they hold, or their deadline has passed."""
    clock = Clock()
    began = clock.moment()
    while read_in_hand(home.database.engine, job_id).count:
        if clock.since(began) > home.settings.cyclr_timeout_s + DRAIN_MARGIN_S:
            return
        home.tend()
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
            self._text = why_it_waits(job.state, step)
        return self._text


class LimiterNote:
    """What the shared limiter has to say to a person who knows the settings: a closed gate, a lowered rate, an outage, another
    one's limit; nothing where all is as they say."""

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
            return nobody_calls(why_nobody_calls(away))

    async def _describe(self) -> str:
        if self._limiter is None:
            self._limiter = self._open_limiter()
        if self._limiter is None:
            return ""
        state = await self._limiter.state()
        return state.holds_back or ("" if state.pace.is_own else f"at {state.pace}")

    def _forget(self) -> None:
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            self._runner.run(limiter.aclose())


def _drawing() -> IO[str]:
    return cast(IO[str], Drawing(sys.stderr))


class Activity:
    """A line that says what the command is doing before the run; silent without a terminal."""

    def __init__(self) -> None:
        console = Console(file=_drawing())
        self._status = Status("", console=console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, text: str) -> None:
        if self._status is not None:
            self._status.update(Text(visible_line(text)))


def describe(job: JobStatus, going: Going, note: str) -> str:
    """`412 done, 8 failed, 3 retrying, 98.2/s, 12 s left`; without what is not known yet."""
    return ", ".join([*_counts(job), *_pace(going), *([note] if note else [])])


def _counts(job: JobStatus) -> list[str]:
    return [f"{job.installed:,} done", f"{job.failed:,} failed", f"{job.retrying:,} retrying"]


def _pace(going: Going) -> list[str]:
    parts = [f"{rate(going.rows_per_second)}/s"] if going.rows_per_second > 0 else []
    return parts if going.seconds_left is None else [*parts, f"{in_words(going.seconds_left)} left"]


class Display(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, job: JobStatus, going: Going, note: str) -> None: ...


def open_display(clock: Clock, *, is_terminal: bool | None = None) -> Display:
    """`is_terminal`: None asks stderr."""
    has_bar = sys.stderr.isatty() if is_terminal is None else is_terminal
    return _Bar() if has_bar else _Lines(clock)


class _Bar:
    """Two lines, the bar and the numbers, and under them why nothing moves, each as wide as it has to be: a terminal of 80
    columns breaks what is too long between two words."""

    def __init__(self) -> None:
        self._bar = ProgressBar(total=1, completed=0, width=BAR_COLUMNS)
        self._live = Live(console=Console(file=_drawing(), highlight=False), refresh_per_second=5)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, job: JobStatus, going: Going, note: str) -> None:
        total = job.total - job.held
        self._bar.update(completed=job.final, total=total)
        figures = [f"{job.final:,} of {total:,}", *_pace(going)]
        first = Table.grid(padding=(0, 3, 0, 0))
        first.add_row(self._bar, Text(APART.join(figures)))
        lines: list[RenderableType] = [first, Text(APART.join(_counts(job)))]
        lines += [Text(visible_line(f"{note[:1].upper()}{note[1:]}."))] if note else []
        self._live.update(Group(*lines))


class _Lines:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said_at: Moment | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, job: JobStatus, going: Going, note: str) -> None:
        if self._said_at is None or self._clock.since(self._said_at) >= LINE_EVERY_S:
            self._said_at = self._clock.moment()
            text = describe(job, going, note)
            say(f"{job.id}: {job.final:,} of {job.total - job.held:,}: {text}")


@app.command("watch", epilog=WATCH_EXAMPLES)
def watch_command(job_id: JobArgument) -> None:
    """Show the progress of JOB until it ends or pauses. Ctrl-C stops the watching, not the job."""
    with failures_in_words(), opened_place(only_shows=True) as place:
        job = _watch(place, require_job(place, job_id))
        if not _is_over(job):
            raise typer.Exit(_left(place, job))
        code = say_end(place, job)
    raise typer.Exit(code)


def say_end(place: Place, job: JobStatus) -> int:
    """Say how the job ended; the exit code."""
    engine = place.database.engine
    code = say_outcome(
        engine,
        job,
        None,
        how_to_go_on=f"cyclr-bulk resume {job.id}",
        how_to_retry=list(_how_to_retry(place, job)),
    )
    say(f"Results, one line for every row: cyclr-bulk results {job.id} -o FILE")
    return code


def _how_to_retry(place: Place, job: JobStatus) -> Iterator[str]:
    engine = place.database.engine
    codes = {failure.code for failure in list_failures(engine, job.id)}
    if not is_left_alone(codes) or job.cancelled:
        yield "To try the failed rows again, mend what their messages name, then:"
        yield f"  cyclr-bulk retry {job.id}"
    file = Path(f"{job.id}.results.csv")
    if ways := list(ways_lines(codes, file, _options(engine, job), is_deployed=place.home is None)):
        yield "For the rows that were left alone, write the result file:"
        yield f"  cyclr-bulk results {job.id} -o {file}"
        yield from ways


def _options(engine: Engine, job: JobStatus) -> RunOptions:
    """What its file was handed in with, as far as that is kept."""
    names_its_own = find_position(job.columns, "connector") is not None
    key = None if names_its_own else find_key(engine, job.id)
    connector = key.partition("\t")[0] if key else None
    return RunOptions.of(job.options, connector=connector, operation=job.operation)


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
            asked.wait(WATCH_EVERY_S)
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
    except DatabaseAway as away:
        fault = database_fault(away)
        text = f"{fault}, so nothing is claimed or written" if fault else str(away)
        display.show(job, Going(), text)
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
