"""What was measured, as the tables of docs/performance.md and as docs/performance.json."""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.end_to_end.processes.commands import ROOT

PAGE, DATA = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance.json"
FRONT, ON_THE_FRONT = ROOT / "README.md", "speed"
PACKAGES = ("celery", "redis", "httpx", "httpx-aiohttp", "aiohttp", "sqlalchemy", "psycopg", "cryptography")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of what must be reached. `got`: in words."""

    measure: str
    must: str
    got: str
    has_passed: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What one measure found. `figures`: for programs; `columns`, `rows`: for people."""

    name: str
    figures: Any
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    lines: Sequence[Line]

    def table(self) -> str:
        marks = ["✓" if line.has_passed else "**missed**" for line in self.lines]
        verdicts = [[line.must, line.got, mark] for line, mark in zip(self.lines, marks, strict=True)]
        return f"{_table(self.columns, self.rows)}\n\n{_table(('must reach', 'got', ''), verdicts)}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *rows)]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "processor": model[1] if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def write(report: Report, measured_on: Mapping[str, Any]) -> None:
    """The report takes the place of the last one of its name, in both files."""
    data = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
    data[report.name] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(measured_on),
        "versions": {name: version(name) for name in PACKAGES},
        "figures": report.figures,
        "lines": [asdict(line) for line in report.lines],
    }
    DATA.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    _put(PAGE, report.name, report.table())
    if report.name == ON_THE_FRONT:
        _put(FRONT, report.name, _table(report.columns, report.rows))


def _put(path: Path, name: str, text: str) -> None:
    """The text takes the place of what stands between the marks of this name."""
    begin, end = f"<!-- {name}: written by `python -m tests.benchmarks` -->", "<!-- end -->"
    head, mark, rest = path.read_text(encoding="utf-8").partition(begin)
    assert mark, f"no place for {name} in {path}"
    _, end, tail = rest.partition(end)
    path.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")
