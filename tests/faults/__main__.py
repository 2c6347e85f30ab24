"""`make faults`: every class of faults alone, then the long mix; one line for each. Exit code 1 if anything fails.

By environment: FAULTS (parts of names, comma separated; or `alone`, `mix`), SEEDS (of the mix: `3` or `1-10`; the first
is that of the runs alone), ACCOUNTS (of every run).
"""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.faults.classes import CLASSES, Fault
from tests.faults.deployment import released_template
from tests.faults.story import Report, Stage, run, until_it_takes_place
from tests.postgres import postgres_server

ALONE, MIX = "alone", "mix"
ACCOUNTS_ALONE, ACCOUNTS_OF_MIX = 300, 3_000
CALLS_PER_SECOND = 25  # so few that a job lasts long enough for all of them
MIX_MAY_MISS = 4


def main() -> int:
    # Whatever ends it, also where a shell's background takes away Ctrl-C: what it started is ended first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    if len(sys.argv) > 1:  # an hour of something else than what was asked for helps nobody
        say(str(__doc__))
        return 2
    asked = os.environ.get("FAULTS", f"{ALONE},{MIX}")
    first, _, last = os.environ.get("SEEDS", "1-10").partition("-")
    seeds = range(int(first), int(last or first) + 1)
    alone, with_mix = chosen(asked)
    if not alone and not with_mix:
        say(f"FAULTS: expected {ALONE}, {MIX} or a part of a name, got {asked}. The names:")
        for fault in CLASSES:
            say(f"  {fault.name}")
        return 2
    failures = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, postgres_server() as postgres:
        stage = Stage(Path(folder), postgres, released_template(postgres))
        for fault in alone:
            story = partial(run_alone, stage, fault)
            failures += not succeeds(fault.name, story, seeds[0])
        for seed in seeds if with_mix else ():
            failures += not succeeds(f"all {len(CLASSES)} in one job", partial(run_mix, stage), seed)
    say(f"{failures} failed" if failures else "all held")
    return 1 if failures else 0


def chosen(asked: str) -> tuple[list[type[Fault]], bool]:
    """The classes that are to strike alone, and whether the mix is wanted too."""
    words = [word.strip() for word in asked.split(",") if word.strip()]
    parts = [word.lower() for word in words if word not in (ALONE, MIX)]
    alone = [f for f in CLASSES if ALONE in words or any(part in f.name.lower() for part in parts)]
    return alone, MIX in words


def run_alone(stage: Stage, fault: type[Fault], seed: int) -> Report:
    accounts = int(os.environ.get("ACCOUNTS", ACCOUNTS_ALONE))
    return run(stage, [fault], accounts=accounts, seed=seed, calls_per_second=CALLS_PER_SECOND)


def run_mix(stage: Stage, seed: int) -> Report:
    accounts = int(os.environ.get("ACCOUNTS", ACCOUNTS_OF_MIX))
    return run(
        stage,
        CLASSES,
        accounts=accounts,
        seed=seed,
        calls_per_second=CALLS_PER_SECOND,
        may_miss=MIX_MAY_MISS,
    )


def succeeds(name: str, story: Callable[[int], Report], seed: int) -> bool:
    try:
        report = until_it_takes_place(story, seed, say)
    except Exception:  # noqa: BLE001 - the others are run all the same
        say(f"FAILED  {name}")
        say(traceback.format_exc())
        return False
    say(f"held  {name}: {report}")
    if len(report.struck) > 1:
        say(f"      struck: {', '.join(report.struck)}")
    if report.missed:
        say(f"      missed: {', '.join(report.missed)}")
    return True


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
