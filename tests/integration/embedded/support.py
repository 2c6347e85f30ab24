"""Real processes for the tests of the embedded mode: started, looked at in /proc, and ended."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.started import start_process
from worker.clock import Clock, Moment

ROOT = Path(__file__).parents[3]


class HeldClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.elapsing_s = 1000.0

    def moment(self) -> Moment:
        return Moment(self.elapsing_s, self.elapsing_s)

    def since(self, earlier: Moment) -> float:
        return self.elapsing_s - earlier.elapsing_s

    def now(self) -> datetime:
        return datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


def wait_for(condition: Callable[[], Any], within_s: float = 90.0) -> Any:
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
    return found


@contextmanager
def python(
    code: str, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A Python process that runs the code; killed at the end of the test."""
    process = start_process(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def stat_of(pid: int) -> tuple[str, int] | None:
    """(state, session id) of a process; None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[3])


def lives(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    found = stat_of(pid)
    return found is not None and found[0] not in "ZX"


def session_of(session_id: int) -> list[int]:
    """The living processes of a session."""
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return sorted(pid for pid in pids if lives(pid) and (stat_of(pid) or ("", 0))[1] == session_id)


def mode_of(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)
