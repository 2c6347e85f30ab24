"""A folder in which commands run, and every process that they start, wherever it hangs in the tree."""

import os
import sys
import uuid
from contextlib import suppress
from pathlib import Path

import psutil

from tests.end_to_end.processes.commands import ROOT, Command, eventually

# Nothing of the environment of the tests may tell a command what to do.
NOT_INHERITED = ("CYCLR_", "DATABASE_URL", "REDIS_URL", "PYTHONPATH", "XDG_RUNTIME_DIR")


class Place:
    """`mark`: stands in the environment of every process that is started here, so that none can hide."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.mark = f"mark-{uuid.uuid4().hex}"
        self.commands: list[Command] = []

    def environment(self, **more: str) -> dict[str, str]:
        """The whole environment of a command."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
        bin_folder = str(Path(sys.executable).parent)
        return {
            **inherited,
            "PATH": f"{bin_folder}{os.pathsep}{inherited.get('PATH', os.defpath)}",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.folder),
            "PLACE_MARK": self.mark,
            **more,
        }

    def start(self, *words: str, **environment: str) -> Command:
        """`cyclr-bulk WORDS`, started, without a terminal."""
        command = Command(
            [sys.executable, "-m", "worker.cli", *words],
            env=self.environment(**environment),
            folder=self.folder,
            name=f"command-{len(self.commands) + 1}",
        )
        self.commands.append(command)
        return command

    def processes(self) -> list[psutil.Process]:
        """Every living process of this place; zombies are not."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                return False
            # Valkey gets nothing of our environment; it runs in a folder of its home.
            is_marked = process.environ().get("PLACE_MARK") == self.mark
            return is_marked or Path(process.cwd()).is_relative_to(self.folder)
        return False

    def wait_until_nothing_runs(self) -> None:
        """Those that are killed may take a moment to go."""
        try:
            eventually(lambda: not self.processes(), "no process is left", within_s=90, every_s=0.1)
        except AssertionError as failure:
            failure.add_note(f"left: {self.processes()}")
            raise

    def close(self) -> None:
        """End all that a failed test has left."""
        for command in self.commands:
            command.kill()
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
