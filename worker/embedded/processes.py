"""Which process a process id means: an id is given again to strangers, an id with its start time is not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """One process for ever. `started`: when it started, in the words of the system; comparable, not readable."""

    pid: int
    started: str


def find_mark(pid: int) -> ProcessMark | None:
    """The process that has this id now; None where there is none, or only a zombie."""
    if pid <= 0:
        return None
    started = _start_on_linux(pid) if sys.platform == "linux" else _start_elsewhere(pid)
    return None if started is None else ProcessMark(pid, started)


def own_mark() -> ProcessMark:
    """This very process."""
    return find_mark(os.getpid()) or ProcessMark(os.getpid(), "unknown")


def is_alive(mark: ProcessMark) -> bool:
    return find_mark(mark.pid) == mark


def end_process(mark: ProcessMark, *, within_s: float) -> bool:
    """Kill this very process and wait until it is gone; False where it is still there after `within_s`.

    A stranger that has its id by now is left alone. A second call is safe.
    """
    with suppress(ProcessLookupError, PermissionError):
        _kill(mark)
    deadline = time.monotonic() + within_s
    while is_alive(mark):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _kill(mark: ProcessMark) -> None:
    if sys.platform != "linux":
        # What it started is in its group, and no kernel ends it with its parent there.
        if is_alive(mark):
            os.killpg(mark.pid, signal.SIGKILL)
        return
    with _pinned(mark.pid) as fd:
        if not is_alive(mark):
            return
        if fd is None:
            os.kill(mark.pid, signal.SIGKILL)
        else:
            signal.pidfd_send_signal(fd, signal.SIGKILL)


@contextmanager
def _pinned(pid: int) -> Iterator[int | None]:
    """A descriptor of the process: it cannot end and give its id away between a check and a signal.

    None on kernels before 5.3 and in sandboxes that have no such call.
    """
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _start_on_linux(pid: int) -> str | None:
    try:
        # The name of the program may hold anything, brackets and spaces too; it ends at the last bracket.
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, ticks_since_boot = fields[0], fields[19]
    return None if state in "ZX" else f"{boot_id}:{ticks_since_boot}"


def _start_elsewhere(pid: int) -> str | None:
    if os.name != "posix":
        return None
    answer = subprocess.run(  # noqa: S603 - a fixed program and a number
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        env={"LC_ALL": "C", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else " ".join(started.split())
