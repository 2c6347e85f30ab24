"""Calls that were never sent, and calls by which Cyclr asks everybody to wait."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.end_to_end.conftest import MakeRig
from tests.end_to_end.harness import Rig, row, until
from worker.installing import Rules
from worker.simulator import faults

both_name_checks = pytest.mark.parametrize(
    "name_check", [True, False], ids=["name-check-on", "name-check-off"]
)


@contextmanager
def full_listener() -> Iterator[str]:
    """The URL of a port that answers no further attempt to connect."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def a_failed_attempt(rig: Rig, job_id: str) -> None:
    rig.run(job_id, until=lambda _: rig.item("acme").attempts >= 1)


def _short_claims(rig: Rig) -> Rules:
    return replace(Rules.of(rig.settings), concurrency=10, claim_s=8.0, pause_above_percent=20)


# Never sent: no look is due, whatever comes next.


def assert_was_never_sent(rig: Rig, reason: str) -> None:
    assert rig.kinds("acme") == []
    assert rig.verdicts("acme")[0] == ("retry", "unreachable", None)
    item = rig.item("acme")
    assert (item.must_look, item.maybe_sent) == (False, False)
    assert item.message == f"Cyclr was not reached: {reason}"


@both_name_checks
def test_a_refused_connection_is_tried_again_without_a_look(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    rig.simulator.stop()
    a_failed_attempt(rig, job_id)
    assert_was_never_sent(rig, "no connection to the host, or it was refused")
    rig.simulator.start()
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["install"]


def test_an_unknown_host_is_tried_again_without_a_look(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    rig.reopen("http://cyclr.invalid")
    a_failed_attempt(rig, job_id)
    assert_was_never_sent(rig, "the name of the host was not found (DNS)")
    rig.reopen()
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["install"]


def test_a_failed_tls_handshake_is_tried_again_without_a_look(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    rig.reopen(rig.simulator.base_url.replace("http:", "https:"))
    a_failed_attempt(rig, job_id)
    assert_was_never_sent(rig, "the TLS handshake failed")
    rig.reopen()
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["install"]


def test_a_connection_that_is_never_made_is_tried_again_without_a_look(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    with full_listener() as url:
        rig.reopen(url)
        a_failed_attempt(rig, job_id)
    assert_was_never_sent(rig, "no connection in time")
    rig.reopen()
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["install"]


def test_what_was_never_sent_in_all_attempts_ends_as_unreachable(make_rig: MakeRig) -> None:
    rig = make_rig(cyclr_max_attempts=3)
    job_id = rig.load(row("acme"))
    rig.simulator.stop()
    job = rig.run(job_id)
    rig.simulator.start()
    assert (job.state, job.failed) == ("completed", 1)
    item = rig.item("acme")
    assert (item.state, item.code, item.attempts, item.must_look) == ("failed", "unreachable", 3, False)
    assert item.can_retry_help
    assert item.message == (
        "not installed, and no install was sent, in 3 attempts: Cyclr was not reached: "
        "no connection to the host, or it was refused"
    )


# 429: nobody calls before the time that Cyclr names.


def assert_nobody_called_before(rig: Rig, seconds: float) -> None:
    """No call started between the answer that closed the gate (or 0.5 s after it) and its end."""
    calls = rig.calls()
    closed_at = next(c.answered_at for c in calls if c.status in (429, 503))
    early = [c for c in calls if closed_at + 0.5 < c.received_at < closed_at + seconds]
    assert early == []


@both_name_checks
@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (faults.throttled(1), 1.0),
        (faults.throttled(1, as_date=True), 1.0),
        (faults.throttled(), 1.0),
    ],
    ids=["seconds", "date", "no-time"],
)
def test_a_429_holds_everybody_back_and_costs_no_attempt(
    rig: Rig, fault: faults.Fault, seconds: float
) -> None:
    job_id = rig.load(*(row(account) for account in ("acme", "globex", "initech", "umbrella")))
    rig.fault(fault, call="install", account_id="acme", count=1)
    assert rig.run(job_id).installed == 4
    assert rig.kinds("acme") == ["install", "install"]
    assert rig.installs("acme") == 1
    first, second = rig.calls("acme")
    assert second.received_at - first.answered_at >= seconds
    assert_nobody_called_before(rig, seconds)
    item = rig.item("acme")
    assert (item.outcome, item.attempts) == ("created", 1)
    assert rig.verdicts("acme") == [("retry", "throttled", 429), ("installed", None, None)]


def test_429_without_a_time_waits_longer_each_time(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    rig.fault(faults.throttled(), call="install", account_id="acme", count=2)
    assert rig.run(job_id).installed == 1
    gaps = [later.received_at - earlier.answered_at for earlier, later in pairwise(rig.calls("acme"))]
    assert gaps[0] >= 1.0
    assert gaps[1] >= 2.0
    assert rig.item("acme").attempts == 1


def test_an_item_is_given_back_where_a_gate_outlasts_its_claim(rig: Rig) -> None:
    job_id = rig.load(row("acme"), row("globex"), no_look=False)
    rig.fault(faults.throttled(3600), call="install", account_id="acme", count=1)
    # Its look ends when the gate is closed already.
    rig.fault(faults.slow(1.5), call="look", account_id="globex", count=1)
    run = rig.new_run(rules=_short_claims(rig))
    rig.play(asyncio.wait_for(run.run(for_s=0.5), 60))
    assert rig.kinds("globex") == ["look"]
    item = rig.item("globex")
    assert (item.state, item.claim_id, item.deaths, item.must_look) == ("queued", None, 0, False)
    assert rig.item("acme").code == "throttled"
    assert rig.job(job_id).failed == 0


# 503 with Retry-After: as 429, but what became of the call is not known.


@both_name_checks
@pytest.mark.parametrize("after_effect", [False, True], ids=["not-applied", "applied"])
def test_a_503_with_a_time_holds_everybody_back_and_is_looked_for(rig: Rig, after_effect: bool) -> None:
    job_id = rig.load(*(row(account) for account in ("acme", "globex", "initech", "umbrella")))
    rig.fault(faults.busy(1, after_effect=after_effect), call="install", account_id="acme", count=1)
    assert rig.run(job_id).installed == 4
    expected = ["install", "look"] if after_effect else ["install", "look", "install"]
    assert rig.kinds("acme") == expected
    assert rig.installs("acme") == 1
    install, look = rig.calls("acme")[:2]
    assert look.received_at - install.answered_at >= 1.0
    assert_nobody_called_before(rig, 1.0)
    item = rig.item("acme")
    assert (item.outcome, item.attempts) == ("recovered" if after_effect else "created", 1)
    assert rig.verdicts("acme")[0] == ("look_first", "no_answer", 503)


# An outage: many failures in a row over several accounts cost nobody an attempt once it is known.


def test_an_outage_stops_everybody_and_ends_by_itself(make_rig: MakeRig) -> None:
    accounts = [f"account-{n}" for n in range(16)]
    # More attempts than an item can lose before there are failures enough to tell an outage.
    rig = make_rig(*accounts, cyclr_max_attempts=5, cyclr_concurrency=4)
    job_id = rig.load(*(row(account) for account in accounts))
    rig.switch("away", "503")

    async def until_cyclr_is_taken_to_be_down() -> None:
        running = asyncio.create_task(rig.new_run().run(for_s=60))
        await until(rig.limiter.is_outage)
        rig.switch("away", None)
        await running

    rig.play(until_cyclr_is_taken_to_be_down())
    job = rig.run(job_id)
    assert (job.state, job.installed) == ("completed", 16)
    starts = [call.received_at for call in rig.calls()]
    assert max(later - earlier for earlier, later in pairwise(starts)) >= 4.9
