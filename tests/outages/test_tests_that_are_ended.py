"""What the tests start dies with them, however they end: a real run of pytest that has started one of everything."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.processes.commands import ROOT, eventually
from tests.started import start_process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes end where their test ends them"),
]
UP_WITHIN_S = 240.0
GONE_WITHIN_S = 60.0


class Run:
    """`pid`: of the process that runs the test. `family`: all that it has started, and what these have."""

    def __init__(self, process: "subprocess.Popen[bytes]", pid: int) -> None:
        self.process = process
        self.pid = pid
        self.family = psutil.Process(pid).children(recursive=True)

    def left(self) -> list[str]:
        return [f"{each.pid} {words_of(each)[:100]}" for each in self.family if lives(each)]


def lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def words_of(process: psutil.Process) -> str:
    """Empty where it has ended in this moment."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """Its processes are up. Parameters: more words for pytest."""
    ready, said = tmp_path / "ready", tmp_path / "said"
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "its")]
    with said.open("wb") as out:
        process = start_process(
            [*words, *getattr(request, "param", []), "tests/end_to_end/one_of_each.py"],
            cwd=ROOT,
            env={**os.environ, "READY_FILE": str(ready)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    with process:
        try:
            eventually(
                lambda: process.poll() is not None or (ready.exists() and ready.read_text()),
                "it has started one of each",
                within_s=UP_WITHIN_S,
            )
            assert process.poll() is None, said.read_text()
            started = Run(process, int(ready.read_text()))
            try:
                yield started
            finally:
                for each in started.family:
                    with suppress(psutil.Error):
                        each.kill()
        finally:
            process.kill()


def assert_all_of_it_goes(run: Run) -> None:
    try:
        eventually(lambda: not run.left(), "nothing is left", within_s=GONE_WITHIN_S)
    except AssertionError as failure:
        failure.add_note(f"left: {run.left()}")
        raise


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=["SIGKILL", "SIGTERM", "SIGINT"]
)
def test_nothing_outlives_a_run_that_is_ended(run: Run, number: signal.Signals):
    words = " ".join(words_of(each) for each in run.family if lives(each))
    for expected in (
        "postgres",
        "valkey-server",
        "celery",
        "worker.cli serve",
        "tests.faults.cyclr",
        "sleep 1000",
    ):
        assert expected in words
    assert len(run.family) > 20
    run.process.send_signal(number)
    run.process.wait(GONE_WITHIN_S)
    assert_all_of_it_goes(run)


@pytest.mark.parametrize("run", [["-n", "1"]], indirect=True)
@pytest.mark.parametrize("whom", ["the one that shares out", "the one that runs it"])
def test_nothing_outlives_a_process_of_a_run_of_several_that_is_killed(run: Run, whom: str):
    if whom == "the one that shares out":
        run.process.kill()
        run.process.wait(GONE_WITHIN_S)
        eventually(lambda: not psutil.pid_exists(run.pid), "the one that runs it is gone")
    else:
        os.kill(run.pid, signal.SIGKILL)
    assert_all_of_it_goes(run)
