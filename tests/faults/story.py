"""A run: one job, faults that strike while it goes on, and then all that must hold."""

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.classes import Fault
from tests.faults.deployment import CALLS_A_ROW, Deployment, JobIsOver, open_deployment
from tests.faults.invariants import assert_all_hold
from tests.postgres import PostgresServer

NEXT_SEED = 1_000  # is added where a fault did not take place
TRIES = 4
ENDS_WITHIN_S = 600.0
MAY_BE_LOST = 10  # rows that ended with their workers, of a mix in which three died or more
ROOM_S = 6  # of work that is left when a fault strikes
STRUCK_BY = 0.7  # the share of the rows over which the faults of a mix are spread


@dataclass(slots=True)
class Report:
    """Of one run. `missed`: faults that did not take place."""

    seed: int
    struck: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    took_s: float = 0.0
    calls: int = 0
    deaths: int = 0
    lost: int = 0
    looks: int = 0

    def __str__(self) -> str:
        return (
            f"seed {self.seed}, {self.took_s:.0f} s, {self.calls} calls, {self.looks} of them looks,"
            f" {self.deaths} rows taken back, {self.lost} lost"
        )


class DidNotTakePlace(Exception):
    """Too many faults of a run missed."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"did not take place with seed {report.seed}: {', '.join(report.missed)}")
        self.report = report


@dataclass(frozen=True, slots=True)
class Stage:
    """Where runs take place. `template`: the URL of an empty database of today's schema."""

    folder: Path
    postgres: PostgresServer
    template: str


def run(
    stage: Stage,
    classes: Sequence[type[Fault]],
    *,
    accounts: int,
    seed: int,
    calls_per_second: int,
    may_miss: int = 0,
) -> Report:
    """All of these faults strike one job, in an order by chance. Raises: AssertionError, DidNotTakePlace."""
    rng = random.Random(f"{seed} {' '.join(fault.name for fault in classes)}")
    folder = stage.folder / f"{seed}-{classes[0].__name__ if len(classes) == 1 else 'mix'}"
    report = Report(seed)
    began = time.monotonic()
    with (
        open_deployment(
            folder, stage.postgres, stage.template, calls_per_second=calls_per_second, seed=seed
        ) as deployment,
        contextlib.chdir(folder),
    ):
        deployment.begin(accounts)
        faults = [
            each(deployment, rng, is_brief=len(classes) > 1) for each in rng.sample(classes, len(classes))
        ]
        struck = strike_all(deployment, faults, rng, accounts)
        deployment.wait_until_over(ENDS_WITHIN_S)
        assert_all_hold(deployment, may_be_lost=MAY_BE_LOST if len(classes) > 2 else 0)
        report.struck = [fault.name for fault in struck if fault.took_place()]
        report.missed = [fault.name for fault in faults if fault.name not in report.struck]
        ledger = deployment.cyclr.read_on()
        report.calls, report.looks = len(ledger.calls), len(ledger.calls_of("look"))
        report.deaths, report.lost = deployment.deaths(), sum(job.failed for job in deployment.jobs())
    report.took_s = time.monotonic() - began
    if len(report.missed) > may_miss:
        raise DidNotTakePlace(report)
    return report


def strike_all(
    deployment: Deployment, faults: Sequence[Fault], rng: random.Random, accounts: int
) -> list[Fault]:
    """One after another, spread over the job, and a person's pause and cancel among them; those that struck before it was over.

    More jobs come where what is left would be over too soon: how long a fault takes is not ours to say.
    """
    struck: list[Fault] = []
    person_before = rng.randrange(len(faults))
    rows_for_a_strike = round(ROOM_S * deployment.calls_per_second / CALLS_A_ROW)
    for number, fault in enumerate(faults):
        share = STRUCK_BY * (number + rng.uniform(0.1, 0.9)) / len(faults)
        if number == person_before:
            deployment.pause_and_resume()
            deployment.submit_and_cancel(rows_for_a_strike)
        deployment.wait_for_installs_of(round(share * accounts))
        if deployment.rows_left() < rows_for_a_strike:
            deployment.bring(rows_for_a_strike)
        with contextlib.suppress(JobIsOver):
            fault.strike()
            struck.append(fault)
    return struck


def until_it_takes_place(story: Callable[[int], Report], seed: int, tell: Callable[[str], None]) -> Report:
    """The story with this seed, or with the next ones while its faults miss."""
    for tried in range(seed, seed + TRIES * NEXT_SEED, NEXT_SEED):
        try:
            return story(tried)
        except DidNotTakePlace as missed:
            tell(str(missed))
            last = missed
        except BaseException as failure:
            failure.add_note(f"repeat it with SEEDS={tried}")
            raise
    raise last
