"""SIGTERM to the workers: what is in flight is settled, the rest is given back, at once and not by a rescue."""

import os
import signal
import time
from functools import partial

import psutil
import pytest

from tests.end_to_end.processes.commands import eventually
from tests.end_to_end.processes.evidence import assert_all_installed, assert_never_wrong, watch_counters
from tests.end_to_end.processes.site import TIMEOUT_S, Site, account_ids, open_site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ACCOUNTS = 400
DRAIN_MARGIN_S = 10.0


def test_sigterm_to_celery_or_to_its_whole_group_drains_the_workers(tmp_path):
    with open_site(tmp_path, account_ids(ACCOUNTS)) as site:
        command = site.run(site.file(account_ids(ACCOUNTS)), "--no-look")
        site.wait_for_installs(60)
        drain(site, site.celery_main(), to_group=False)
        site.wait_for_installs(len(site.installs()) + 60)
        drain(site, site.celery_main(), to_group=True)
        assert command.wait(meanwhile=partial(watch_counters, site)) == 0, command.err

        assert_all_installed(site, ACCOUNTS)
        # A call that nobody settled would be looked for: none was.
        assert site.simulator.ledger.calls_of("look") == []
        assert {item.deaths for item in site.items()} == {0}
        assert len(site.installs()) == ACCOUNTS
        assert_never_wrong(site)
        site.wait_until_nothing_runs()


def drain(site: Site, main: psutil.Process, *, to_group: bool) -> None:
    """SIGTERM, and nothing is held by a worker any more once the workers have ended, within their time."""
    assert eventually(site.busy_children, "a worker calls Cyclr")
    began = time.monotonic()
    if to_group:
        os.killpg(main.pid, signal.SIGTERM)
    else:
        main.terminate()
    eventually(lambda: has_ended(main), "Celery has ended", within_s=TIMEOUT_S + DRAIN_MARGIN_S)
    took_s = time.monotonic() - began
    assert took_s < TIMEOUT_S + DRAIN_MARGIN_S


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
