"""Commands of one home that were set to different rates: the lowest is everybody's, by what Cyclr saw and when."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis

from tests.browser.served import address, make_keys
from tests.commands.sharing import ends_well
from tests.end_to_end.processes.commands import Command, eventually
from tests.end_to_end.processes.evidence import SLACK_S, assert_all_installed
from tests.end_to_end.processes.site import CONNECTOR, Site, account_ids, open_site
from tests.limits import assert_within_bound
from tests.plain_http import http_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SLOW = {"CYCLR_CALLS_PER_SECOND": "4", "CYCLR_BURST": "3"}
FAST = {"CYCLR_CALLS_PER_SECOND": "50", "CYCLR_BURST": "20"}
# What was given out before the lower limit was known: as far ahead as installs are, and as late as a slot may be.
OUT_FOR_S = 0.75
NOT_ITS_OWN = "at 4 calls/s (set by another process that shares the limit; this one has 50)"


@contextmanager
def serving(site: Site, **limit: str) -> Iterator[tuple[Command, httpx.Client]]:
    """`cyclr-bulk serve`, and a client that may write."""
    command = site.start("serve", "--port", "0", **limit)
    url = address(command)
    key, _ = make_keys(site)
    with http_client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        yield command, client


def submit(client: httpx.Client, accounts: list[str]) -> str:
    items = [
        {
            "account_id": each,
            "connector": CONNECTOR,
            "api_key": f"key-of-{each}-5f1c",
            "property.WebhookSecret": f"whsec-of-{each}-77ab",
        }
        for each in accounts
    ]
    answer = client.post("/v1/jobs", json={"items": items})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def limits_asked(site: Site) -> set[str]:
    """The rates that the home's limiter remembers; behind each, whether it was set."""
    with redis.Redis.from_url(site.runtime().redis_url) as client:
        names = [name.decode() for key in client.scan_iter("*:limiter") for name in client.hkeys(key)]
    asked = [name.split() for name in names if name.startswith("asked ")]
    return {f"{per_second} {is_set}" for _, per_second, _, is_set, _ in asked}


def assert_kept(site: Site, *, since: float) -> None:
    received = [call.received_at for call in site.simulator.ledger.calls if call.received_at >= since]
    assert_within_bound(received, rate=4, burst=3, slack_s=SLACK_S)


def test_a_run_beside_a_faster_server_keeps_to_its_own_rate(tmp_path: Path):
    """The server's workers make the calls."""
    accounts = account_ids(30)
    with open_site(tmp_path, accounts) as site, serving(site, **FAST):
        command = site.start("run", str(site.file(accounts)), "--yes", **SLOW)
        ends_well(site, command)
        assert "at 4 calls/s.\n" in command.err
        assert_kept(site, since=0)
        assert_all_installed(site, 30, job_count=1)


def test_a_run_beside_a_slower_server_says_whose_rate_it_is(tmp_path: Path):
    accounts = account_ids(20)
    with open_site(tmp_path, accounts) as site, serving(site, **SLOW):
        command = site.start("run", str(site.file(accounts)), "--yes", **FAST)
        ends_well(site, command)
        assert f"{NOT_ITS_OWN}." in command.err  # before it begins
        assert f", {NOT_ITS_OWN}\n" in command.err  # while it goes on
        assert_kept(site, since=0)


def test_a_busy_server_slows_down_when_a_slower_run_begins(tmp_path: Path):
    theirs, ours = account_ids(400, "theirs"), account_ids(8, "ours")
    with open_site(tmp_path, theirs + ours) as site, serving(site, **FAST) as (_, client):
        job_id = submit(client, theirs)
        site.wait_for_installs(60)
        command = site.start("run", str(site.file(ours)), "--yes", **SLOW)
        eventually(lambda: limits_asked(site) == {"50.0 1", "4.0 1"}, "both limits are known", every_s=0.01)
        known_at = time.time()
        ends_well(site, command)
        assert_kept(site, since=known_at + OUT_FOR_S)
        assert client.post(f"/v1/jobs/{job_id}/pause").status_code == 200


def test_a_rate_that_nobody_set_does_not_slow_down_a_run(tmp_path: Path):
    """The server has the default, and its workers know that nobody set it."""
    accounts = account_ids(60)
    with open_site(tmp_path, accounts) as site, serving(site, CYCLR_CALLS_PER_SECOND="", CYCLR_BURST=""):
        command = site.start("run", str(site.file(accounts)), "--yes", **FAST)
        ends_well(site, command)
        assert "at 50 calls/s.\n" in command.err
        assert limits_asked(site) == {"10.0 0", "50.0 1"}
        received = [call.received_at for call in site.installs()]
        assert max(received) - min(received) < 4  # 5 s and more at the default


def test_a_command_that_makes_no_call_itself_is_heard_too(tmp_path: Path):
    accounts = account_ids(20)
    with open_site(tmp_path, accounts) as site, serving(site, **FAST):
        command = site.start("run", str(site.file(accounts)), "--yes", "--first", "1", **FAST)
        assert command.wait() == 3, command.err
        [job] = site.jobs()
        resumed_at = time.time()
        ends_well(site, site.start("resume", job.id, **SLOW))
        assert_kept(site, since=resumed_at)
        assert_all_installed(site, 20)
