"""Rows that come through a pipe: as good as a file, kept by nobody, and nothing waits for ever."""

import os
import shlex
import signal
import subprocess

import pytest

from tests.commands.test_at_a_terminal import COMMAND, Window, environment
from tests.end_to_end.cli.desk import Desk
from tests.end_to_end.processes.commands import DEADLINE_S, eventually
from tests.started import run_process, start_process


def typed(desk: Desk, line: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which CB is the command."""
    script = f'CB() {{ {shlex.join(COMMAND)} "$@"; }}; {line}'
    return run_process(
        ["/bin/bash", "-c", script],
        env={**environment(desk, **settings), "PATH": f"{environment(desk)['PATH']}:/usr/bin:/bin"},
        cwd=desk.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "results"),
    [
        ("cat accounts.csv | CB run - --yes", "stdin.results.csv"),
        ("cat accounts.csv | CB run /dev/stdin --yes", "stdin.results.csv"),
        ("CB run - --yes < accounts.csv", "stdin.results.csv"),
        ("CB run <(cat accounts.csv) --yes", "pipe.results.csv"),
        ("mkfifo rows; cat accounts.csv > rows & sleep 0.1; CB run rows --yes", "rows.results.csv"),
    ],
)
def test_rows_through_a_pipe_are_installed_as_those_of_a_file(desk: Desk, line: str, results: str) -> None:
    desk.mail_file("acme", "globex")
    done = typed(desk, line)
    assert done.returncode == 0, done.stderr
    assert [row["_state"] for row in desk.results(results)] == ["done", "done"]
    assert sorted(desk.installs()) == ["acme", "globex"]


def test_a_job_of_a_pipe_goes_on_without_its_rows_once_more(desk: Desk) -> None:
    desk.mail_file("acme", "globex")
    done = typed(desk, "cat accounts.csv | CB run - --yes --first 1")
    assert done.returncode == 3
    [job_id] = {row["_job"] for row in desk.results("stdin.results.csv")}
    assert done.stderr.splitlines()[-2:] == [
        "Look at what became of them; for the rest, resume it:",
        f"  cyclr-bulk resume {job_id}",
    ]
    assert typed(desk, f"CB resume {job_id}").returncode == 0
    assert sorted(desk.installs()) == ["acme", "globex"]


def test_a_pipe_of_many_pieces_is_read_as_often_as_it_is_needed(desk: Desk) -> None:
    description = "d" * 4_000
    rows = "".join(f"acme,Northwind Mail,key,EU,name {n},{description}\n" for n in range(800))
    desk.file("large.csv", f"account_id,connector,api_key,property.Region,name,description\n{rows}")
    done = typed(desk, "cat large.csv | CB check -")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[1] == "stdin: 800 rows (UTF-8, comma)"
    assert done.stdout.splitlines()[-2:] == ["No problems. Begin with:", "  cyclr-bulk run - --yes"]


def test_without_consent_nothing_is_read_from_the_pipe(desk: Desk) -> None:
    reader, writer = os.pipe()  # whoever writes there is not done yet
    try:
        done = run_process(
            [*COMMAND, "run", "-"],
            env=environment(desk),
            cwd=desk.folder,
            stdin=reader,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "There is no terminal to ask on: add --yes to begin without a question.",
        "Nothing was changed.",
    ]


def test_a_device_is_no_file(desk: Desk) -> None:
    for device, name in (("/dev/zero", "/dev/zero"), ("-", "stdin")):
        done = typed(desk, f"CB check {device} < /dev/null")
        assert done.returncode == 2
        assert done.stdout.splitlines() == [
            f"{name}: this file cannot be used.",
            "  expected a CSV file or a pipe, got a device",
            "1 problem.",
        ]


def test_a_terminal_is_no_pipe(desk: Desk) -> None:
    window = Window(desk, "check", "-")
    assert window.wait() == 2
    assert "expected rows through a pipe, got a terminal: name a file" in window.screen


def test_results_do_not_go_into_a_pipe(desk: Desk) -> None:
    desk.mail_file("acme")
    done = typed(desk, "mkfifo out; CB run accounts.csv --yes --results out")
    assert done.returncode == 2
    assert "out: expected a file for the results, got a pipe or a device; name a file" in done.stderr
    assert desk.installs() == []


def test_nothing_of_a_pipe_is_left_by_a_command_that_is_killed(desk: Desk) -> None:
    secret = "key-of-a-pipe-55d1"
    reader, writer = os.pipe()
    command = start_process(
        [*COMMAND, "check", "-"],
        env=environment(desk),
        cwd=desk.folder,
        stdin=reader,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    os.close(reader)
    assert command.stderr is not None
    assert command.stderr.readline() == b"Reading stdin to its end; Ctrl-C ends that.\n"
    line = f"acme,Northwind Mail,{secret}\n".encode()
    os.write(writer, b"account_id,connector,api_key\n" + line * 2_000)  # less than a pipe holds
    for _ in range(50):
        os.write(writer, line * 1_000)
    held = f"/proc/{command.pid}/fd"
    home = str(desk.folder / "home")
    eventually(
        lambda: any(
            os.readlink(f"{held}/{fd}").startswith(home) and os.stat(f"{held}/{fd}").st_size > 0
            for fd in os.listdir(held)
            if fd not in ("0", "1", "2")
        ),
        "a kept piece",
    )
    [kept] = [
        f"{held}/{fd}" for fd in os.listdir(held) if os.readlink(f"{held}/{fd}").startswith(home) and fd > "2"
    ]
    with open(kept, "rb") as file:
        assert secret.encode() not in file.read()
    command.send_signal(signal.SIGKILL)
    command.wait()
    command.stderr.close()
    os.close(writer)
    files = [path for path in (desk.folder / "home").rglob("*") if path.is_file()]
    assert files == []
