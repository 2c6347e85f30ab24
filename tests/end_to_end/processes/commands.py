"""The command as a person starts it: a process with its output in files, or at a terminal."""

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tests.started import start_process

T = TypeVar("T")

ROOT = Path(__file__).parents[3]
DEADLINE_S = 90.0  # for anything: generous, since the machine may be busy with other things


def eventually(
    condition: Callable[[], T], what: str, *, within_s: float = DEADLINE_S, every_s: float = 0.02
) -> T:
    """What the condition gives as soon as it is true. `what`: named where it does not come true."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(every_s)
    return found


class Command:
    """A command without a terminal."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], folder: Path, name: str) -> None:
        self._out_path, self._err_path = folder / f"{name}.out", folder / f"{name}.err"
        with self._out_path.open("wb") as out, self._err_path.open("wb") as err:
            self._process = start_process(
                argv,
                env=dict(env),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def out(self) -> str:
        return self._out_path.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self._err_path.read_text(encoding="utf-8")

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, *, meanwhile: Callable[[], None] = lambda: None, within_s: float = DEADLINE_S) -> int:
        """The exit code. `meanwhile`: called now and then until the command has ended."""
        deadline = time.monotonic() + within_s
        while (code := self.exit_code) is None:
            assert time.monotonic() < deadline, f"still running after {within_s:.0f} s:\n{self.out}{self.err}"
            meanwhile()
            time.sleep(0.2)
        return code

    def command_to_go_on(self) -> str:
        """The line that the command printed for its person to type."""
        lines = [line.strip() for line in self.err.splitlines() if line.startswith("  cyclr-bulk run ")]
        assert len(lines) == 1, self.err
        return lines[0]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Terminal:
    """A line typed into a shell at a terminal of 100 columns, and what came on the screen."""

    def __init__(self, line: str, *, env: Mapping[str, str], folder: Path) -> None:
        self.screen = ""
        self._fd, other_end = os.openpty()
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        try:
            self._process = start_process(
                ["/bin/sh", "-c", f"exec {line}"],
                env={**env, "TERM": "xterm-256color"},
                cwd=folder,
                stdin=other_end,
                stdout=other_end,
                stderr=other_end,
                start_new_session=True,
            )
        finally:
            os.close(other_end)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def read_until(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.screen:
            assert self._read_some(deadline), f"ended without {text!r}:\n{self.screen}"

    def wait(self) -> int:
        """The exit code."""
        deadline = time.monotonic() + DEADLINE_S
        while self._read_some(deadline):
            pass
        os.close(self._fd)
        return self._process.wait()

    def _read_some(self, deadline: float) -> bool:
        """Whether the terminal is still open."""
        readable, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            self._process.kill()
            raise AssertionError(f"nothing more came on the screen:\n{self.screen}")
        try:
            data = os.read(self._fd, 65_536)
        except OSError:  # the other end is gone
            return False
        self.screen += data.decode(errors="replace")
        return bool(data)
