"""How long a person waits: for `--help`, and from `demo` to its first install."""

import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from statistics import median

from tests.benchmarks.site import Site
from tests.benchmarks.sizes import sizes
from tests.end_to_end.processes.commands import Command

WITHIN_S = 60.0


def measure(site: Site) -> dict[str, float]:
    """`help` and `demo`: the medians in seconds."""
    found: dict[str, list[float]] = {"help": [], "demo": []}
    for _ in range(sizes().starts):
        found["help"].append(_help(site))
        found["demo"].append(_demo(site))
    return {name: median(times) for name, times in found.items()}


def _help(site: Site) -> float:
    began = time.monotonic()
    command = site.begin("help", [str(Path(sys.executable).parent / "cyclr-bulk"), "--help"])
    while command.exit_code is None:
        time.sleep(0.002)
    assert command.exit_code == 0, command.err
    return time.monotonic() - began


def _demo(site: Site) -> float:
    before = set(site.folder.rglob("*.db"))
    began = time.monotonic()
    command = site.begin("demo", [str(Path(sys.executable).parent / "cyclr-bulk"), "demo"])
    try:
        while not _has_installed(site.folder, before):
            assert command.exit_code is None, command.err
            assert time.monotonic() < began + WITHIN_S, "no install of the demo"
            time.sleep(0.02)
        return time.monotonic() - began
    finally:
        _stop(site, command)


def _has_installed(folder: Path, before: set[Path]) -> bool:
    """Whether a database that is new in this folder counts an install."""
    for path in set(folder.rglob("*.db")) - before:
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection,
        ):
            [(installed,)] = connection.execute("SELECT coalesce(sum(installed), 0) FROM jobs").fetchall()
            if installed:
                return True
    return False


def _stop(site: Site, command: Command) -> None:
    site.end(command)
    site.commands.remove(command)
