"""The command as a process of its own: the question at a terminal, and readers that go away."""

import os
import shlex
import subprocess
import sys

import pytest

from tests.end_to_end.cli.desk import NO_VALKEY, Desk
from tests.end_to_end.processes.commands import DEADLINE_S, ROOT, Terminal, eventually
from tests.started import run_process

COMMAND = [sys.executable, "-m", "worker.cli"]

# Ends of a terminal are told to those processes only that it controls.
UNDER_CONTROL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Window(Terminal):
    """A terminal that controls the command in it, and that can be closed."""

    def __init__(self, desk: Desk, *words: str, **settings: str) -> None:
        line = shlex.join([sys.executable, "-c", UNDER_CONTROL, *COMMAND, *words])
        super().__init__(line, env=environment(desk, **settings), folder=desk.folder)

    def close(self) -> int:
        """The exit code of the command that lost its terminal."""
        os.close(self._fd)
        return self._process.wait(DEADLINE_S)


def environment(desk: Desk, **settings: str) -> dict[str, str]:
    return {
        "PATH": str(NO_VALKEY),
        "PYTHONPATH": f"{NO_VALKEY}{os.pathsep}{ROOT}",
        "HOME": str(desk.folder),
        **desk.settings,
        **settings,
    }


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"], ids=["no", "nothing", "end of input"])
def test_a_declined_question_installs_nothing(desk: Desk, answer: str) -> None:
    window = Window(desk, "run", desk.mail_file("acme"))
    window.read_until("[y/N]: ")
    host = desk.simulator.base_url.removeprefix("http://")
    assert (
        f"Install or fill in 1 connector at {host}? It takes about 1 s at 500 calls/s. [y/N]: "
        in window.screen
    )
    window.type(answer)
    assert window.wait() == 3
    assert "Declined. Nothing was changed." in window.screen
    assert desk.installs() == []


def test_a_file_that_was_changed_since_the_check_is_not_installed(desk: Desk) -> None:
    window = Window(desk, "run", desk.mail_file("acme"))
    window.read_until("[y/N]: ")
    desk.mail_file("globex")
    window.type("y\n")
    assert window.wait() == 2
    assert "accounts.csv was changed while it was being read" in window.screen
    assert "Nothing was changed." in window.screen
    assert desk.installs() == []


def test_a_closed_terminal_pauses_the_run_and_its_results_are_written(desk: Desk) -> None:
    file = desk.mail_file("acme", "globex", "initech", "umbrella", "hooli", "stark")
    window = Window(desk, "run", file, "--yes", CYCLR_CALLS_PER_SECOND="3", CYCLR_BURST="1")
    eventually(lambda: len(desk.installs()) >= 1, "an install")
    assert window.close() == 3
    states = [row["_state"] for row in desk.results("accounts.results.csv")]
    assert len(states) == 6
    assert states.count("done") == len(desk.installs()) < 6


def run_into(
    desk: Desk, stdout: int | None, *words: str, redirected: str = ""
) -> subprocess.CompletedProcess[str]:
    """`redirected`: as a shell writes it, behind the command."""
    line = f"exec {shlex.join([*COMMAND, *words])} {redirected}"
    return run_process(
        ["/bin/sh", "-c", line],
        env=environment(desk),
        cwd=desk.folder,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_a_run_whose_reader_has_gone_ends_as_it_would(desk: Desk) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run_into(desk, writer, "run", desk.mail_file("acme"), "--yes")
    finally:
        os.close(writer)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert [row["_state"] for row in desk.results("accounts.results.csv")] == ["done"]


@pytest.mark.parametrize("redirected", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_run_with_closed_streams_ends_as_it_would(desk: Desk, redirected: str) -> None:
    done = run_into(desk, subprocess.DEVNULL, "run", desk.mail_file("acme"), "--yes", redirected=redirected)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert [row["_state"] for row in desk.results("accounts.results.csv")] == ["done"]


def test_a_run_whose_output_finds_no_room_says_where_and_ends_as_it_would(desk: Desk) -> None:
    with open("/dev/full", "w") as full:
        done = run_into(desk, full.fileno(), "run", desk.mail_file("acme"), "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("/dev/full: No space left on device.") == 1
    assert "Traceback" not in done.stderr
    assert [row["_state"] for row in desk.results("accounts.results.csv")] == ["done"]


def test_a_command_that_is_asked_for_its_output_alone_says_that_it_could_not_be_written(desk: Desk) -> None:
    with open("/dev/full", "w") as full:
        done = run_into(desk, full.fileno(), "new-sealing-key")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "/dev/full: No space left on device. What the command tells is not written there any more.",
        "Not all of what was asked for was written.",
    ]


def test_what_was_typed_before_the_question_is_no_answer_to_it(desk: Desk) -> None:
    window = Window(desk, "run", desk.mail_file("acme"))
    window.type("y\ny\n")
    window.read_until("[y/N]: ")
    host = desk.simulator.base_url.removeprefix("http://")
    assert (
        f"Install or fill in 1 connector at {host}? It takes about 1 s at 500 calls/s. [y/N]: "
        in window.screen
    )
    assert desk.installs() == []
    window.type("perhaps\n")
    window.read_until("Please answer y or n.")
    window.type("n\n")
    assert window.wait() == 3
    assert "Declined. Nothing was changed." in window.screen
    assert desk.installs() == []
