"""How a run stands, while it runs: a bar on a terminal, a plain line every 10 s elsewhere."""

import sys
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.status import Status

from worker.cli.exits import say
from worker.clock import Clock, Moment
from worker.domain.wording import in_words
from worker.jobs.standing import Going
from worker.store.jobs import JobStatus

LINE_EVERY_S = 10.0


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


def describe(job: JobStatus, going: Going, note: str) -> str:
    """`412 installed, 8 failed, 3 retrying, 98.2/s, 12 s left`; without what is not known yet."""
    parts = [f"{job.installed:,} installed", f"{job.failed:,} failed", f"{job.retrying:,} retrying"]
    if going.rows_per_second > 0:
        parts.append(f"{going.rows_per_second:.1f}/s")
    if going.seconds_left is not None:
        parts.append(f"{in_words(going.seconds_left)} left")
    if note:
        parts.append(note)
    return ", ".join(parts)


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
    def __init__(self) -> None:
        self._progress = Progress(
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            refresh_per_second=5,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, job: JobStatus, going: Going, note: str) -> None:
        text = describe(job, going, note)
        if self._task is None:
            self._task = self._progress.add_task(text, total=job.total - job.held)
        self._progress.update(self._task, description=text, completed=job.final, total=job.total - job.held)


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
