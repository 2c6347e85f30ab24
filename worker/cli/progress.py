"""How a run stands, while it runs: a bar on a terminal, a plain line every 10 s elsewhere."""

import sys
from types import TracebackType
from typing import IO, Protocol, Self, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.status import Status
from rich.table import Table
from rich.text import Text

from worker.cli.terminal import Drawing, say, visible_line
from worker.clock import Clock, Moment
from worker.domain.wording import in_words, rate
from worker.jobs.views import Going
from worker.store.jobs import JobStatus

LINE_EVERY_S = 10.0
BAR_COLUMNS = 30
APART = "   "


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
    """`412 installed, 8 failed, 3 retrying, 98.2/s, 12 s left`; without what is not known yet."""
    return ", ".join([*_counts(job), *_pace(going), *([note] if note else [])])


def _counts(job: JobStatus) -> list[str]:
    return [f"{job.installed:,} installed", f"{job.failed:,} failed", f"{job.retrying:,} retrying"]


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
            say(f"{job.id}: {job.final:,} of {job.total - job.held:,} done: {text}")
