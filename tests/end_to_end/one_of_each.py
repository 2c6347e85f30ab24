"""Not for a run of its own: starts one of everything that tests start, says so, and waits for its end
(`test_tests_that_are_ended.py`)."""

import os
import shutil
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.benchmarks.site import open_site
from tests.browser.served import open_served
from tests.browser.world import CREDENTIALS, story_world
from tests.end_to_end.fleet.fleet import open_fleet
from tests.end_to_end.processes.commands import Terminal, eventually
from tests.faults.cyclr import stand_in
from tests.postgres import postgres_server
from tests.started import run_process, start_process


@pytest.mark.timeout(0)
def test_waits_with_one_of_each(tmp_path: Path) -> None:
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        fleet = stack.enter_context(open_fleet(tmp_path / "fleet", postgres.databases()))
        fleet.release()
        fleet.launch("sweep")
        fleet.launch_worker("--concurrency", "2")
        fleet.launch("web", PORT="0")
        stack.enter_context(stand_in(1))
        stack.enter_context(open_site())
        home = open_served(tmp_path / "home", story_world(), credentials=CREDENTIALS)
        served = stack.enter_context(home)
        Terminal("sleep 1000", env=dict(os.environ), folder=tmp_path)
        stack.enter_context(start_process([sys.executable, "-c", "import signal; signal.pause()"]))
        with suppress(ImportError):
            stack.enter_context(_browser())
        # Celery's processes come last: those of the home as well.
        eventually(lambda: len(_celery_processes(served.command.pid)) >= 2, "the home has its workers")
        Path(os.environ["READY_FILE"]).write_text(str(os.getpid()))
        run_process([sys.executable, "-c", "import signal; signal.pause()"])
        signal.pause()


def _celery_processes(pid: int) -> list[psutil.Process]:
    family = psutil.Process(pid).children(recursive=True)
    return [process for process in family if "celery" in " ".join(process.cmdline())]


def _browser() -> Any:
    from playwright.sync_api import sync_playwright

    class Opened:
        def __enter__(self) -> None:
            self._playwright = sync_playwright().start()
            path = shutil.which("chromium")
            if path is not None:
                self._playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])

        def __exit__(self, *_error: object) -> None:
            self._playwright.stop()

    return Opened()
