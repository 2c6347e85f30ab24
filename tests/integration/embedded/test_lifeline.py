import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.integration.embedded.support import line_of, lives, mode_of, python, session_of, wait_for
from tests.started import start_process
from worker import lifeline
from worker.embedded.processes import start_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

START_A_CHILD = """
import sys, time
from pathlib import Path
from worker.embedded.processes import start_child
child = start_child(["sleep", "1000"], {"PATH": "/usr/bin:/bin"}, Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(1000)
"""
ELSEWHERE_THAN_ON_LINUX = """
import os, sys, time
from pathlib import Path
from worker.embedded.processes import start_child
sys.platform = "darwin"
del os.waitid
child = start_child(["/bin/sh", "-c", sys.argv[2]], {}, Path(sys.argv[1]))
print(child.pid, child.is_alive, flush=True)
if sys.stdin.readline() == "terminate\\n":
    child.terminate()
    child.wait(20)
    print(child.exit_code, flush=True)
time.sleep(1000)
"""
FAMILY = "sleep 1000 & echo ready; wait"


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def launch(*arguments: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    return start_process(
        [sys.executable, lifeline.__file__, *arguments],
        pass_fds=pass_fds,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(tmp_path, number):
    with python(START_A_CHILD, str(tmp_path / "log")) as parent:
        child = int(line_of(parent))
        wait_for(lambda: Path(f"/proc/{child}/cmdline").read_bytes() == b"sleep\x001000\x00")
        parent.send_signal(number)
        wait_for(lambda: not lives(child))


def test_a_program_whose_parent_is_gone_already_is_never_run(tmp_path):
    with launch("--parent", "1", "--", "touch", str(tmp_path / "ran")) as process:
        assert process.wait(20) == -signal.SIGKILL
    assert not (tmp_path / "ran").exists()


def test_the_end_of_the_pipe_ends_the_program_and_what_it_started():
    read_fd, write_fd = os.pipe()
    with launch("--pipe", str(read_fd), "--", "sh", "-c", FAMILY, pass_fds=(read_fd,)) as process:
        os.close(read_fd)
        assert line_of(process) == "ready"
        assert len(session_of(process.pid)) == 3
        os.close(write_fd)
        wait_for(lambda: session_of(process.pid) == [])


def test_the_launcher_with_a_pipe_passes_signals_on_and_gives_the_program_s_exit_code():
    read_fd, write_fd = os.pipe()
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    with launch("--pipe", str(read_fd), "--", "sh", "-c", script, pass_fds=(read_fd,)) as process:
        assert line_of(process) == "ready"
        process.terminate()
        assert process.wait(20) == 7
    os.close(read_fd)
    os.close(write_fd)


needs_ps = pytest.mark.skipif(not Path("/bin/ps").exists(), reason="tells processes apart by /bin/ps")


@needs_ps
def test_where_no_kernel_keeps_watch_a_child_and_what_it_started_end_with_the_parent_too(tmp_path):
    with python(ELSEWHERE_THAN_ON_LINUX, str(tmp_path / "log"), FAMILY) as parent:
        pid, is_alive = line_of(parent).split()
        assert is_alive == "True"
        wait_for(lambda: read(tmp_path / "log") == "ready\n")
        assert len(session_of(int(pid))) == 3
        parent.kill()
        wait_for(lambda: session_of(int(pid)) == [])


@needs_ps
def test_where_no_kernel_keeps_watch_a_child_is_asked_to_end_and_leaves_nothing(tmp_path):
    script = "trap 'exit 7' TERM; sleep 1000 & echo ready; wait"
    with python(ELSEWHERE_THAN_ON_LINUX, str(tmp_path / "log"), script) as parent:
        pid = int(line_of(parent).split()[0])
        wait_for(lambda: read(tmp_path / "log") == "ready\n")
        assert parent.stdin is not None
        parent.stdin.write("terminate\n")
        parent.stdin.flush()
        assert line_of(parent) == "7"
        wait_for(lambda: session_of(pid) == [])


def test_a_program_that_is_not_there_is_named_in_the_log(tmp_path):
    child = start_child(["/no/such/program"], {}, tmp_path / "log")
    assert child.wait(20)
    assert child.exit_code == 127
    assert (
        read(tmp_path / "log") == "lifeline: /no/such/program cannot be started: No such file or directory\n"
    )


@pytest.mark.parametrize("arguments", [(), ("--parent", "x", "--", "true"), ("--else", "1", "--", "true")])
def test_wrong_usage_says_what_is_expected(arguments):
    with launch(*arguments) as process:
        assert line_of(process) == "lifeline: expected: (--parent PID | --pipe FD) -- PROGRAM [ARGUMENT ...]"
        assert process.wait(20) == 64


def test_a_child_gets_the_environment_given_and_nothing_else_and_its_log_is_private(tmp_path):
    child = start_child(["/usr/bin/env"], {"LC_ALL": "C"}, tmp_path / "log", folder=tmp_path)
    assert child.wait(20)
    assert read(tmp_path / "log") == "LC_ALL=C\n"
    assert mode_of(tmp_path / "log") == "0o600"


def test_a_child_has_a_session_of_its_own_and_kill_ends_all_of_it(tmp_path):
    child = start_child(["/bin/sh", "-c", FAMILY], {}, tmp_path / "log")
    wait_for(lambda: read(tmp_path / "log") == "ready\n")
    assert len(session_of(child.pid)) == 2
    child.kill()
    child.kill()
    wait_for(lambda: session_of(child.pid) == [])
    assert child.exit_code == -signal.SIGKILL


def test_what_a_killed_child_started_ends_when_its_death_is_noticed(tmp_path):
    child = start_child(["/bin/sh", "-c", FAMILY], {}, tmp_path / "log")
    wait_for(lambda: read(tmp_path / "log") == "ready\n")
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(20)
    wait_for(lambda: session_of(child.pid) == [])


def test_terminate_asks_the_child_alone_and_wait_tells_whether_it_ended(tmp_path):
    child = start_child(["/bin/sh", "-c", "trap '' TERM; echo ready; sleep 1000"], {}, tmp_path / "log")
    wait_for(lambda: read(tmp_path / "log") == "ready\n")
    child.terminate()
    assert not child.wait(0.2)
    assert len(session_of(child.pid)) == 2
    child.kill()


def test_a_child_is_started_from_the_main_thread_only(tmp_path):
    refusals = []

    def start() -> None:
        try:
            start_child(["true"], {}, tmp_path / "log")
        except AssertionError as refusal:
            refusals.append(str(refusal))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert refusals == ["children are started from the main thread"]
