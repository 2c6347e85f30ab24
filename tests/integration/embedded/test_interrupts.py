import os
import pty
import signal
import sys

import pytest

from tests.integration.embedded.support import ROOT, line_of, python, wait_for
from tests.started import start_process
from worker.embedded import interrupts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and terminals")

WAIT = """
import sys
from worker.embedded import interrupts
with interrupts() as asked:
    print("ready", flush=True)
    print(asked.wait(60), asked.is_set, asked.signal.name, flush=True)
    try:
        print(asked.wait(60), flush=True)
        sys.stdin.readline()
    except KeyboardInterrupt:
        print("now", flush=True)
"""
LOSE_THE_TERMINAL = """
import fcntl, sys, termios
from pathlib import Path
from worker.embedded import interrupts
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
with interrupts() as asked:
    Path(sys.argv[1], "ready").touch()
    asked.wait(60)
    Path(sys.argv[1], "signal").write_text(asked.signal.name)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_waiting_at_once_and_sets_the_flag(name):
    with python(WAIT) as process:
        assert line_of(process) == "ready"
        process.send_signal(signal.Signals[name])
        assert line_of(process) == f"True True {name}"
        assert line_of(process) == "True"  # a later wait does not wait


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
def test_one_more_ctrl_c_ends_the_command_now(first):
    with python(WAIT) as process:
        assert line_of(process) == "ready"
        process.send_signal(signal.Signals[first])
        assert line_of(process) == f"True True {first}"
        assert line_of(process) == "True"
        process.send_signal(signal.SIGINT)
        assert line_of(process) == "now"


def test_a_lost_terminal_is_a_signal_like_the_others(tmp_path):
    here, there = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", LOSE_THE_TERMINAL, str(tmp_path)]
    with start_process(
        argv, stdin=there, stdout=there, stderr=there, start_new_session=True, env=environment
    ) as process:
        os.close(there)
        wait_for((tmp_path / "ready").exists)
        os.close(here)
        assert process.wait(20) == 0
    assert (tmp_path / "signal").read_text() == "SIGHUP"


def test_without_a_signal_the_waiting_ends_by_time():
    with interrupts() as asked:
        assert not asked.wait(0.01)
        assert not asked.wait(-1)
        assert not asked.is_set


def test_the_handlers_are_put_back_and_what_is_ignored_stays_ignored():
    before = signal.getsignal(signal.SIGTERM)
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts() as asked:
            assert signal.getsignal(signal.SIGTERM) == asked.receive
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == before
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, earlier)
