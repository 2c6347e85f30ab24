"""How a run stands, while it runs: a bar on a terminal, a plain line every 10 s elsewhere."""

import sys
from collections import deque
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.status import Status
from rich.table import Table
from rich.text import Text

from worker.cli.exits import say
from worker.clock import Clock, Moment
from worker.domain.wording import in_words
from worker.store.jobs import JobStatus

LINE_EVERY_S = 10.0
RATE_OVER_S = 15.0
BAR_COLUMNS = 30
APART = "   "


class Activity:
    """A line that says what the command is doing before the run; silent without a terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
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
            self._status.update(text)


class Rate:
    """Rows a second over the last 15 s, from what the job's counters say."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: deque[tuple[Moment, int]] = deque()

    def see(self, final: int) -> None:
        now = self._clock.moment()
        self._seen.append((now, final))
        while len(self._seen) > 2 and self._clock.since(self._seen[1][0]) > RATE_OVER_S:
            self._seen.popleft()

    def per_second(self) -> float:
        if len(self._seen) < 2:
            return 0.0
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        elapsed_s = ended.elapsing_s - began.elapsing_s
        return (last - first) / elapsed_s if elapsed_s > 0 else 0.0


def describe(job: JobStatus, per_second: float, note: str) -> str:
    """`412 installed, 8 failed, 3 retrying, 98.2/s, 12 s left`; without a rate where none is known yet."""
    return ", ".join([*_counts(job), *_pace(job, per_second), *([note] if note else [])])


def _counts(job: JobStatus) -> list[str]:
    return [f"{job.installed:,} installed", f"{job.failed:,} failed", f"{job.retrying:,} retrying"]


def _pace(job: JobStatus, per_second: float) -> list[str]:
    left = job.left - job.held
    if per_second <= 0:
        return []
    return [f"{per_second:.1f}/s", *([f"{in_words(left / per_second)} left"] if left > 0 else [])]


class Display(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, job: JobStatus, note: str) -> None: ...


def open_display(clock: Clock, *, is_terminal: bool | None = None) -> Display:
    """`is_terminal`: None asks stderr."""
    has_bar = sys.stderr.isatty() if is_terminal is None else is_terminal
    return _Bar(clock) if has_bar else _Lines(clock)


class _Bar:
    """Two lines, the bar and the numbers, and under them why nothing moves, each as wide as it has to be: a terminal of 80
    columns breaks what is too long between two words."""

    def __init__(self, clock: Clock) -> None:
        self._rate = Rate(clock)
        self._bar = ProgressBar(total=1, completed=0, width=BAR_COLUMNS)
        self._live = Live(console=Console(stderr=True, highlight=False), refresh_per_second=5)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, job: JobStatus, note: str) -> None:
        self._rate.see(job.final)
        total = job.total - job.held
        self._bar.update(completed=job.final, total=total)
        figures = [f"{job.final:,} of {total:,}", *_pace(job, self._rate.per_second())]
        first = Table.grid(padding=(0, 3, 0, 0))
        first.add_row(self._bar, Text(APART.join(figures)))
        lines: list[RenderableType] = [first, Text(APART.join(_counts(job)))]
        lines += [Text(f"{note[:1].upper()}{note[1:]}.")] if note else []
        self._live.update(Group(*lines))


class _Lines:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rate = Rate(clock)
        self._said_at: Moment | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, job: JobStatus, note: str) -> None:
        self._rate.see(job.final)
        if self._said_at is None or self._clock.since(self._said_at) >= LINE_EVERY_S:
            self._said_at = self._clock.moment()
            text = describe(job, self._rate.per_second(), note)
            say(f"{job.id}: {job.final:,} of {job.total - job.held:,} done: {text}")
