"""Intake of a large file with credentials, beside csv.reader and COPY of the same file."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.product import write_file
from tests.benchmarks.site import Site
from tests.benchmarks.sizes import sizes
from worker.store.readiness import upgrade
from worker.store.session import open_engine

LONGEST_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Intake:
    """Medians of one way. `took_s`: on the wall; `cpu_s`: of the process that reads the file."""

    took_s: float
    cpu_s: float
    peak_mb: float


def measure(site: Site) -> dict[str, Intake]:
    """`bare`, `postgresql` and `sqlite`, in turn."""
    path = write_file(site.folder / "intake.csv", sizes().intake_rows)
    ways = {"bare": _bare, "postgresql": _postgresql, "sqlite": _sqlite}
    found: dict[str, list[Intake]] = {name: [] for name in ways}
    for number in range(sizes().runs):
        for name, run in ways.items():
            found[name].append(run(site, path))
            print(f"run {number + 1}: {name}: {found[name][-1]}", flush=True)
    return {
        name: Intake(
            median(each.took_s for each in runs),
            median(each.cpu_s for each in runs),
            median(each.peak_mb for each in runs),
        )
        for name, runs in found.items()
    }


def _bare(site: Site, path: Path) -> Intake:
    url = site.databases.new()
    try:
        return _run(site, "bare", url, path)
    finally:
        site.databases.drop(url)


def _postgresql(site: Site, path: Path) -> Intake:
    url = site.databases.new()
    try:
        _upgrade(url)
        return _run(site, "product", url, path)
    finally:
        site.databases.drop(url)


def _sqlite(site: Site, path: Path) -> Intake:
    database = site.folder / "intake.db"
    try:
        _upgrade(f"sqlite:///{database}")
        return _run(site, "product", f"sqlite:///{database}", path)
    finally:
        for left in site.folder.glob("intake.db*"):
            left.unlink()


def _upgrade(url: str) -> None:
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()


def _run(site: Site, kind: str, url: str, path: Path) -> Intake:
    words = [sys.executable, "-m", "tests.benchmarks.intake_run", kind, url, str(path)]
    command = site.begin("intake", words)
    assert command.wait(within_s=LONGEST_S) == 0, command.err
    return Intake(**json.loads(command.out))
