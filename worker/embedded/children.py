"""Processes that we start: a session of their own, a log of their own, and an end with ours."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from worker import lifeline
from worker.embedded.files import open_log
from worker.embedded.processes import ProcessMark, find_mark

_POLL_S = 0.02


class Child:
    """A process that we started. Its group is its own, and ends with it."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline_fd: int | None) -> None:
        self._process = process
        self._lifeline_fd = lifeline_fd
        self.mark = find_mark(process.pid) or ProcessMark(process.pid, "ended at once")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative: the signal that ended it."""
        if self._process.returncode is None and _has_ended(self._process):
            self._bury()
        return self._process.returncode

    @property
    def is_alive(self) -> bool:
        return self.exit_code is None

    def terminate(self) -> None:
        """Ask it, and not its children, to end. A second call is safe."""
        if self.is_alive:
            self._process.terminate()

    def wait(self, within_s: float) -> bool:
        """Whether it has ended within that time."""
        deadline = time.monotonic() + within_s
        while self.is_alive:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def kill(self) -> None:
        """End it and its group now. A second call is safe."""
        if self.is_alive:
            self._bury()

    def _bury(self) -> None:
        # The group first, while the process keeps its id taken: what it left behind is in there.
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM where only a zombie is left
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        if self._lifeline_fd is not None:
            os.close(self._lifeline_fd)
            self._lifeline_fd = None


def start_child(
    argv: Sequence[str], env: Mapping[str, str], log_path: Path, *, folder: Path | None = None
) -> Child:
    """Start a program that ends when this process ends, by kill -9 too.

    env: its whole environment; secrets travel there and never in argv, which everybody on the machine may read.
    log_path: gets what it writes to stdout and stderr. folder: where it runs, by default where we do.
    A program that cannot be started ends at once with exit code 127 and says why in its log.

    To be called from the main thread: Linux kills the child when the thread that started it ends.
    """
    assert threading.current_thread() is threading.main_thread(), "children are started from the main thread"
    log_fd = open_log(log_path)
    try:
        if sys.platform == "linux":
            launcher = _launcher("--parent", os.getpid())
            return Child(_start([*launcher, *argv], env, log_fd, folder), None)
        return _start_watching_a_pipe(argv, env, log_fd, folder)
    finally:
        os.close(log_fd)


def _start_watching_a_pipe(
    argv: Sequence[str], env: Mapping[str, str], log_fd: int, folder: Path | None
) -> Child:
    read_fd, write_fd = os.pipe()
    try:
        process = _start([*_launcher("--pipe", read_fd), *argv], env, log_fd, folder, pass_fds=(read_fd,))
    except BaseException:
        os.close(write_fd)
        raise
    finally:
        os.close(read_fd)
    return Child(process, write_fd)


def _launcher(watch: str, number: int) -> list[str]:
    # By path, without site-packages and without the environment's say: it has to be quick and to start anywhere.
    return [sys.executable, "-I", "-S", lifeline.__file__, watch, str(number), "--"]


def _start(
    argv: Sequence[str],
    env: Mapping[str, str],
    log_fd: int,
    folder: Path | None,
    *,
    pass_fds: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the words are our own
        argv,
        env=dict(env),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    if hasattr(os, "waitid"):
        # Without reaping it, so that its id stays taken until its group is ended too.
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return process.poll() is not None
