"""Processes that we start: a session of their own, a log of their own, an end with ours, and what is written down of them. And the
signals that ask ourselves to end, as a flag that a loop can look at and wait for.

Which process a process id means: an id is given again to strangers, an id with its start time is not.
"""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import FrameType

from worker import lifeline
from worker.domain.failures import ToldFailure

FILE_MODE = 0o600
_POLL_S = 0.02
# SIGHUP: the terminal is gone. Windows has none.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _ends(is_alive: Callable[[], bool], within_s: float) -> bool:
    """Wait for a process; whether it has ended within that time."""
    deadline = time.monotonic() + within_s
    while is_alive():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """One process for ever. `started`: when it started, in the words of the system; comparable, not readable."""

    pid: int
    started: str

    @classmethod
    def find(cls, pid: int) -> "ProcessMark | None":
        """The process that has this id now; None where there is none, or only a zombie."""
        if pid <= 0:
            return None
        started = _start_on_linux(pid) if sys.platform == "linux" else _start_elsewhere(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def own(cls) -> "ProcessMark":
        """This very process."""
        return cls.find(os.getpid()) or cls(os.getpid(), "unknown")

    @property
    def is_alive(self) -> bool:
        return self.find(self.pid) == self

    def end(self, *, within_s: float) -> bool:
        """Kill this very process and wait until it is gone; False where it is still there after `within_s`.

        A stranger that has its id by now is left alone. A second call is safe.
        """
        with suppress(ProcessLookupError, PermissionError):
            self._kill()
        return _ends(lambda: self.is_alive, within_s)

    def _kill(self) -> None:
        if sys.platform != "linux":
            # What it started is in its group, and no kernel ends it with its parent there.
            if self.is_alive:
                os.killpg(self.pid, signal.SIGKILL)
            return
        with _pinned(self.pid) as fd:
            if not self.is_alive:
                return
            if fd is None:
                os.kill(self.pid, signal.SIGKILL)
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


class Child:
    """A process that we started. Its group is its own, and ends with it."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline_fd: int | None) -> None:
        self._process = process
        self._lifeline_fd = lifeline_fd
        self.mark = ProcessMark.find(process.pid) or ProcessMark(process.pid, "ended at once")

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
        return _ends(lambda: self.is_alive, within_s)

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


class ServiceNotStarted(ToldFailure):
    """Valkey or the workers did not start: its log says why."""

    def __init__(self, name: str, reason: str, log_path: Path) -> None:
        super().__init__(f"{name} did not start: {reason}; its log is {log_path}")
        self.name = name
        self.reason = reason
        self.log_path = log_path


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


@dataclass(frozen=True, slots=True)
class Runtime:
    """`redis_url`: for redis-py. `children`: service name -> its process. `workers_began_at`: when the workers were started,
    or were started again after they had lived for a while; None: they were not."""

    owner: ProcessMark
    socket_folder: Path
    redis_url: str
    children: dict[str, ProcessMark] = field(default_factory=dict)
    workers_began_at: datetime | None = None

    def with_child(self, name: str, mark: ProcessMark) -> "Runtime":
        """The same with this process in the place of the service's earlier one."""
        return replace(self, children={**self.children, name: mark})

    def to_text(self) -> str:
        children = {name: [mark.pid, mark.started] for name, mark in self.children.items()}
        return json.dumps(
            {
                "owner": [self.owner.pid, self.owner.started],
                "children": children,
                "socket_folder": str(self.socket_folder),
                "redis_url": self.redis_url,
                "workers_began_at": self.workers_began_at and self.workers_began_at.isoformat(),
            }
        )

    @classmethod
    def find(cls, text: str) -> "Runtime | None":
        """The runtime in a text that `to_text` made; None for any other text: a file that nobody can read binds nobody."""
        try:
            found = json.loads(text)
            began_at = found.get("workers_began_at")
            return cls(
                owner=_mark(found["owner"]),
                children={str(name): _mark(pair) for name, pair in found["children"].items()},
                socket_folder=Path(found["socket_folder"]),
                redis_url=str(found["redis_url"]),
                workers_began_at=None if began_at is None else datetime.fromisoformat(began_at),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def _mark(pair: list[object]) -> ProcessMark:
    pid, started = pair
    return ProcessMark(int(str(pid)), str(started))


def open_log(path: Path) -> int:
    """A descriptor that appends to the log file, mode 600. The caller closes it."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)


def limit_log(path: Path, *, limit_bytes: int) -> bool:
    """Whether the log file had grown past its limit and was moved to `<name>.1`, over an older one.

    The file is emptied in place, since the process that writes it keeps it open; what it writes meanwhile is lost.
    """
    if not path.exists() or path.stat().st_size <= limit_bytes:
        return False
    older = path.with_name(f"{path.name}.1")
    with (
        path.open("rb") as source,
        os.fdopen(os.open(older, os.O_WRONLY | os.O_CREAT, FILE_MODE), "wb") as kept,
    ):
        # Its end only: a log that grew very large between two looks must not fill the disk twice.
        source.seek(-limit_bytes, os.SEEK_END)
        kept.truncate(0)
        shutil.copyfileobj(source, kept)
    os.truncate(path, 0)
    return True


class Interrupts:
    """Whether the command was asked to end, and by which signal."""

    def __init__(self, woken: socket.socket, waker: socket.socket) -> None:
        self._woken = woken
        self._waker = waker
        self.signal: signal.Signals | None = None

    @property
    def is_set(self) -> bool:
        return self.signal is not None

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the command is asked to end, at most `timeout_s`; whether it was."""
        # Not `threading.Event`: a handler that sets one while its own thread waits for it can lock up for ever.
        if not self.is_set:
            select.select([self._woken], [], [], max(0.0, timeout_s))
        return self.is_set

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler. A second SIGINT is a person who will not wait.

        Raises: KeyboardInterrupt for that one.
        """
        if self.is_set and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is None:
            self.signal = signal.Signals(number)
            with suppress(OSError):
                self._waker.send(b"!")


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """SIGINT, SIGTERM and SIGHUP set a flag while this context lasts; their handlers are put back after it.

    A signal that is ignored (`nohup`, a script's background job) stays ignored. From the main thread only.
    """
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    flag = Interrupts(woken, waker)
    earlier = {}
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                earlier[number] = signal.signal(number, flag.receive)
        yield flag
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        woken.close()
        waker.close()
