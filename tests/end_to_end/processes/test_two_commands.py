"""Commands that share a home: one runs the workers, the others watch and take over, under one limit."""

import os
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.processes.commands import Command, eventually
from tests.end_to_end.processes.evidence import (
    assert_all_installed,
    assert_never_wrong,
    result_files,
    watch_counters,
)
from tests.end_to_end.processes.site import Site, account_ids, open_site
from worker.simulator.faults import slow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OURS, THEIRS = account_ids(150, "ours"), account_ids(300, "theirs")
TAKES_OVER = "The command that ran the workers has ended: this one goes on."
WATCHES = "Another command is installing this file"


def states_by_source(site: Site) -> dict[str, str]:
    return {job.source_name: job.state for job in site.jobs()}


def hold_up(site: Site) -> None:
    """Installs take so long that the first command is sure to be at work while the others start."""
    site.change(lambda world: world.faults.add(slow(1.5), call="install"))


def let_go(site: Site) -> None:
    site.change(lambda world: world.faults.clear())


def run(site: Site, file: Path) -> Command:
    return site.start("run", str(file), "--yes", CYCLR_CONCURRENCY="4")


def wait_for_jobs(site: Site, *sources: str) -> None:
    eventually(lambda: set(states_by_source(site)) == set(sources), f"jobs of {sources}")


def ends_well(site: Site, command: Command) -> None:
    assert command.wait(meanwhile=partial(watch_counters, site)) == 0, command.err


def test_the_others_take_over_when_the_first_has_ended(tmp_path):
    """Three commands: the owner, one with another file, and one with the owner's file once more."""
    with open_site(tmp_path, OURS + THEIRS) as site:
        our_file, their_file = site.file(OURS, "ours.csv"), site.file(THEIRS, "theirs.csv")
        hold_up(site)
        first = run(site, our_file)
        site.wait_for_installs(1)
        second, same = run(site, their_file), run(site, our_file)
        wait_for_jobs(site, "ours.csv", "theirs.csv")
        eventually(lambda: WATCHES in same.err, "the first one's file is watched")
        let_go(site)
        ends_well(site, first)
        ends_well(site, same)
        ends_well(site, second)
        assert TAKES_OVER in second.err + same.err
        assert [path.name for path in result_files(tmp_path)] == ["ours.results.csv", "theirs.results.csv"]
        everything_is_installed(site)


def test_the_second_takes_over_when_the_first_is_killed(tmp_path):
    """It ends its own job; the first's goes on when its command is typed again."""
    with open_site(tmp_path, OURS + THEIRS) as site:
        our_file, their_file = site.file(OURS, "ours.csv"), site.file(THEIRS, "theirs.csv")
        hold_up(site)
        first = run(site, our_file)
        site.wait_for_installs(1)
        second = run(site, their_file)
        wait_for_jobs(site, "ours.csv", "theirs.csv")
        let_go(site)
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        eventually(lambda: TAKES_OVER in second.err, "the second command takes over")
        again = run(site, our_file)
        ends_well(site, second)
        ends_well(site, again)
        everything_is_installed(site)


def test_the_first_may_end_while_the_second_still_asks_cyclr(tmp_path):
    ours, theirs = OURS[:10], THEIRS[:10]
    with open_site(tmp_path, ours + theirs) as site:
        hold_up(site)
        first = run(site, site.file(ours, "ours.csv"))
        site.wait_for_installs(1)
        site.change(lambda world: world.faults.add(slow(20), call="accounts", count=1))
        second = site.start("run", str(site.file(theirs, "theirs.csv")), "--yes", CYCLR_TIMEOUT_S="60")
        asked = site.simulator.ledger.calls_of
        eventually(lambda: len(asked("accounts")) == 2, "the second command asks for the accounts")
        ends_well(site, first)
        assert set(states_by_source(site)) == {"ours.csv"}
        ends_well(site, second)
        assert TAKES_OVER in second.err
        assert_all_installed(site, 20, job_count=2)
        assert_never_wrong(site)
        site.wait_until_nothing_runs()


def everything_is_installed(site: Site) -> None:
    assert_all_installed(site, len(OURS) + len(THEIRS), job_count=2)
    assert Counter(states_by_source(site).values()) == {"completed": 2}
    assert_never_wrong(site)
    site.wait_until_nothing_runs()
