"""The one place where tests start processes: each dies with the process that started it, by kill -9 of that one too.

By the product's own lifeline, on Linux; elsewhere they end where the test ends them.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from worker import lifeline


def start_process(argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
    """A process; its id is that of the program, which takes its launcher's place. `options`: of `subprocess.Popen`."""
    assert threading.current_thread() is threading.main_thread(), (
        "Linux ends a process with the thread that started it"
    )
    return subprocess.Popen([*_launcher(), *argv], **options)


def run_process(argv: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[Any]":
    """What came of a process that has ended. `options`: of `subprocess.run`."""
    return subprocess.run([*_launcher(), *argv], **options)


def _launcher() -> list[str]:
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", lifeline.__file__, "--parent", str(os.getpid()), "--"]
