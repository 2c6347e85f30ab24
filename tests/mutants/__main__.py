"""Break one dangerous line at a time in a copy of the project, and see that a test fails.

`python -m tests.mutants [NAME ...]` runs all mutants, or those named; exit code 1 if one survives.
`--write` puts the table of mutants and of the tests that killed them into docs/testing.md.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.access import ACCESS_MUTANTS
from tests.mutants.alarms import ALARM_MUTANTS
from tests.mutants.answers import ANSWER_MUTANTS
from tests.mutants.changes import CHANGE_MUTANTS
from tests.mutants.deployment import DEPLOYMENT_MUTANTS
from tests.mutants.desk import DESK_MUTANTS
from tests.mutants.failover import FAILOVER_MUTANTS
from tests.mutants.files import FILE_MUTANTS
from tests.mutants.guards import GUARD_MUTANTS
from tests.mutants.loads import LOAD_MUTANTS
from tests.mutants.mutants import MUTANTS, Mutant
from tests.mutants.of_redis import REDIS_MUTANTS
from tests.started import run_process

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("worker", "migrations", "tests", "Procfile", "pyproject.toml", "alembic.ini")
DEADLINE_S = 300
TABLE_BEGINS = "<!-- mutants: written by `python -m tests.mutants --write` -->"
TABLE_ENDS = "<!-- end of mutants -->"


@dataclass(frozen=True, slots=True)
class Fate:
    """`killer`: the test that failed; None: the mutant survived."""

    mutant: Mutant
    killer: str | None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--write", action="store_true", help="write the table into docs/testing.md")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, metavar="N")
    given = parser.parse_args()
    mutants = (
        *MUTANTS,
        *DESK_MUTANTS,
        *FILE_MUTANTS,
        *FAILOVER_MUTANTS,
        *DEPLOYMENT_MUTANTS,
        *LOAD_MUTANTS,
        *ACCESS_MUTANTS,
        *GUARD_MUTANTS,
        *ANSWER_MUTANTS,
        *ALARM_MUTANTS,
        *REDIS_MUTANTS,
        *CHANGE_MUTANTS,
    )
    chosen = [mutant for mutant in mutants if not given.names or mutant.name in given.names]
    problems = [problem for mutant in mutants if (problem := mutant.problem(ROOT))]
    if problems or not chosen:
        sys.stderr.write("\n".join(problems or ["no mutant of that name"]) + "\n")
        return 2
    with ThreadPoolExecutor(given.at_once) as pool:
        fates = []
        for fate in pool.map(put_to_the_test, chosen):
            fates.append(fate)
            outcome = f"killed by {fate.killer}" if fate.killer else "SURVIVED"
            sys.stdout.write(f"{fate.mutant.name}: {outcome}\n")
            sys.stdout.flush()
    if given.write and not given.names:
        write_table(fates)
    survivors = [fate for fate in fates if fate.killer is None]
    sys.stdout.write(f"{len(fates) - len(survivors)} killed, {len(survivors)} survived\n")
    return 1 if survivors else 0


def put_to_the_test(mutant: Mutant) -> Fate:
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        mutant.apply(copy)
        # The copy goes before the installed project on the path, in the processes that a test starts too.
        env = os.environ | {
            "PYTHONPATH": str(copy),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CYCLR_BULK_MUTANT": mutant.name,
        }
        words = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "--no-header",
            *mutant.tests,
        ]
        try:
            run = run_process(
                words, cwd=copy, env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return Fate(mutant, f"a deadline of {DEADLINE_S} s")
        if run.returncode == 0:
            return Fate(mutant, None)
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", run.stdout, re.MULTILINE)
        if failed is None:
            raise RuntimeError(
                f"{mutant.name}: the tests did not run:\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}"
            )
        return Fate(mutant, failed[1].partition("[")[0])


def write_table(fates: list[Fate]) -> None:
    path = ROOT / "docs" / "testing.md"
    lines = ["| mutant | file | what is broken | the test that fails |", "|---|---|---|---|"]
    for fate in fates:
        killer = f"`{fate.killer}`" if fate.killer else "**none**"
        lines.append(f"| {fate.mutant.name} | `{fate.mutant.file}` | {fate.mutant.breaks} | {killer} |")
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(TABLE_BEGINS)
    _, _, after = rest.partition(TABLE_ENDS)
    table = "\n".join([TABLE_BEGINS, "", *lines, "", TABLE_ENDS])
    path.write_text(before + table + after, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
