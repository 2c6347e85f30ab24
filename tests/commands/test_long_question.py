"""A command that asks Cyclr at length while the one that runs the workers ends."""

import pytest

from tests.commands.sharing import TAKES_OVER, ends_well, hold_up, run, states_by_source
from tests.end_to_end.processes.commands import eventually
from tests.end_to_end.processes.evidence import assert_all_installed, assert_never_wrong
from tests.end_to_end.processes.site import account_ids, open_site
from worker.simulator.faults import slow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ANSWER_AFTER_S = 40  # what the question takes: longer than the first command needs to end


def test_the_first_may_end_while_the_second_still_asks_cyclr(tmp_path):
    ours, theirs = account_ids(10, "ours"), account_ids(10, "theirs")
    with open_site(tmp_path, ours + theirs) as site:
        hold_up(site)
        first = run(site, site.file(ours, "ours.csv"))
        site.wait_for_installs(1)
        site.change(lambda world: world.faults.add(slow(ANSWER_AFTER_S), call="accounts", count=1))
        second = site.start("run", str(site.file(theirs, "theirs.csv")), "--yes", CYCLR_TIMEOUT_S="60")
        asked = site.simulator.ledger.calls_of
        eventually(lambda: len(asked("accounts")) == 2, "the second command asks for the accounts")
        assert set(states_by_source(site)) == {"ours.csv"}
        ends_well(site, first)
        ends_well(site, second)
        assert TAKES_OVER in second.err
        # It did not wait for the answer to its first question, which came with nobody to ask for the next call's slot.
        late, again = asked("accounts")[1:3]
        assert again.received_at < late.received_at + ANSWER_AFTER_S
        assert_all_installed(site, 20, job_count=2)
        assert_never_wrong(site)
        site.wait_until_nothing_runs()
