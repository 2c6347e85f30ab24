"""Starts a program that ends when the process that asked for it ends, by kill -9 too; and what a process leaves behind.

Run by path or as `python -m worker.lifeline`; imports the standard library only, since it stands before every start.

    lifeline.py --parent PID -- PROGRAM [ARGUMENT ...]     Linux: becomes the program, the kernel keeps watch
    lifeline.py --pipe FD -- PROGRAM [ARGUMENT ...]        elsewhere: stays, and keeps watch on a pipe from the parent
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

try:
    import resource
except ImportError:  # Windows writes no core files
    resource = None  # type: ignore[assignment]

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>

EXIT_USAGE = 64
EXIT_NOT_FOUND = 127
USAGE = "expected: (--parent PID | --pipe FD) -- PROGRAM [ARGUMENT ...]"


def die_with_parent(parent_pid: int | None = None) -> None:
    """Have this process killed when its parent ends; where the parent has ended already, it dies here and now.

    parent_pid: the parent as known before the fork. None: whoever is the parent now; one that had ended before this
    call is not missed then, since its children have a new parent at once.
    The kernel means the thread that forked, not its process: start children from a thread that lasts.
    Outside Linux only the check is made. A second call is safe.
    """
    expected = os.getppid() if parent_pid is None else parent_pid
    if sys.platform == "linux":
        _ask_kernel_for_death_signal()
    # After the request: a parent that ended before it would never be noticed.
    if os.getppid() != expected:
        os.kill(os.getpid(), signal.SIGKILL)


def write_no_core_files() -> None:
    """From now on a crash of this process, and of those that it starts, leaves no copy of its memory. A second call is safe.

    It stays readable for processes of the same user: these may read the files with the keys as well.
    """
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _ask_kernel_for_death_signal() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_PDEATHSIG): {os.strerror(number)}")


def run_watched_by_pipe(pipe_fd: int, argv: list[str]) -> int:
    """Run the program until it ends or the other end of the pipe closes; the exit code as a shell gives it.

    Must lead a process group of its own: at the end of the pipe the whole group is killed.
    """
    # Before anything can arrive for it, so that a SIGTERM never ends the launcher and leaves the program.
    program: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if program is None:
            early.append(number)
        else:
            program.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    program = subprocess.Popen(argv)  # noqa: S603 - the words come from our own command
    for missed in early:
        program.send_signal(missed)
    threading.Thread(target=_kill_group_at_end_of, args=(pipe_fd,), daemon=True).start()
    code = program.wait()
    return code if code >= 0 else 128 - code


def _kill_group_at_end_of(pipe_fd: int) -> None:
    while os.read(pipe_fd, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(arguments: list[str]) -> int:
    if len(arguments) < 4 or arguments[2] != "--" or not arguments[1].isdigit():
        sys.stderr.write(f"lifeline: {USAGE}\n")
        return EXIT_USAGE
    watch, number, argv = arguments[0], int(arguments[1]), arguments[3:]
    try:
        if watch == "--parent":
            die_with_parent(number)
            os.execvp(argv[0], argv)  # noqa: S606 - a shell would stand between the program and its parent
        if watch == "--pipe":
            return run_watched_by_pipe(number, argv)
    except OSError as error:
        sys.stderr.write(f"lifeline: {argv[0]} cannot be started: {error.strerror}\n")
        return EXIT_NOT_FOUND
    sys.stderr.write(f"lifeline: {USAGE}\n")
    return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
