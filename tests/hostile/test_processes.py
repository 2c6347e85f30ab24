"""What holds secrets leaves no copy of its memory, and works in no folder of somebody else's."""

import os
import sys
from pathlib import Path

import pytest

from tests.browser.served import Served
from tests.end_to_end.processes.commands import ROOT, eventually
from tests.started import run_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def core_limit(pid: int) -> str:
    [line] = [
        line
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if line.startswith("Max core file")
    ]
    return " ".join(line.split()[4:6])


def test_no_process_of_a_home_writes_core_files(served: Served):
    # The command, Valkey, Celery and a worker process of it.
    eventually(lambda: len(served.place.processes()) >= 4, "all of them run")
    running = served.place.processes()
    assert {core_limit(process.pid) for process in running} == {"0 0"}


def test_nor_does_a_worker_of_a_deployment():
    text = (
        "import resource\n"
        "from worker.bootstrap.worker_process import require_worker_can_start\n"
        "try:\n    require_worker_can_start()\n"
        "except SystemExit:\n    print(resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    env = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "HOME": "/nowhere"}
    run = run_process([sys.executable, "-c", text], env=env, capture_output=True, text=True, check=True)
    assert run.stdout == "(0, 0)\n", run.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_root_works_in_no_home_of_somebody_else(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 65_534, 65_534)
    env = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "CYCLR_BULK_HOME": str(home)}
    words = [sys.executable, "-m", "worker.cli", "jobs"]
    run = run_process(words, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "it belongs to user id 65534; run this as that user, or choose a folder of your own" in run.stderr
    assert list(home.iterdir()) == []
