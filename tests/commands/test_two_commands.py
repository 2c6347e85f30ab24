"""Commands that share a home: one runs the workers, the others watch and take over, under one limit."""

import os
import signal
from collections import Counter

import pytest

from tests.commands.sharing import TAKES_OVER, ends_well, hold_up, let_go, run, states_by_source
from tests.end_to_end.processes.commands import eventually
from tests.end_to_end.processes.evidence import assert_all_installed, assert_never_wrong, result_files
from tests.end_to_end.processes.site import Site, account_ids, open_site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OURS, THEIRS = account_ids(150, "ours"), account_ids(300, "theirs")
WATCHES = "Another command is at work on this file"


def wait_for_jobs(site: Site, *sources: str) -> None:
    eventually(lambda: set(states_by_source(site)) == set(sources), f"jobs of {sources}")


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


def everything_is_installed(site: Site) -> None:
    assert_all_installed(site, len(OURS) + len(THEIRS), job_count=2)
    assert Counter(states_by_source(site).values()) == {"completed": 2}
    assert_never_wrong(site)
    site.wait_until_nothing_runs()
