"""Calls whose outcome is unknown: Cyclr may have acted or not. One job per name check runs all of them side by side."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.harness import Rig, row, small_world
from tests.integration.store.databases import SqliteStores
from worker.simulator import faults
from worker.simulator.exchange import HTML
from worker.simulator.faults import Fault
from worker.simulator.server import SimulatorThread

TIMEOUT_S, SETTLE_S = 2.5, 0.2  # as the rig has them

NOT_APPLIED: dict[str, Fault] = {
    "status-500": faults.server_error(500),
    "status-502": faults.server_error(502),
    "status-503-without-a-time": faults.server_error(503),
    "status-504": faults.server_error(504),
    "status-408": faults.refused(408, "Request timeout."),
    "status-409": faults.refused(409, "Conflict."),
    "gateway-page": faults.gateway_page(502),
    "silence": faults.silence(after_effect=False),
    "reset": faults.reset(),
    "status-202": faults.other_success(202),
    "empty-200": faults.garbage("", after_effect=False),
}
APPLIED: dict[str, Fault] = {
    "applied-status-500": faults.server_error(500, after_effect=True),
    "applied-status-502": faults.server_error(502, after_effect=True),
    "applied-status-504": faults.server_error(504, after_effect=True),
    "applied-gateway-page": faults.gateway_page(504, after_effect=True),
    "applied-silence": faults.silence(),
    "applied-reset": faults.reset(after_effect=True),
    "applied-cut-body": faults.cut_body(),
    "applied-status-202": faults.other_success(202, "{}", after_effect=True),
    "applied-200-html": faults.garbage("<html>", content_type=HTML),
    "applied-200-empty-object": faults.garbage("{}"),
    "applied-200-empty": faults.garbage(""),
    "applied-200-other-name": faults.garbage('{"Id": 7, "Name": "Other", "Connector": {"Name": "Other"}}'),
    "applied-200-id-as-text": faults.garbage('{"Id": "7", "Name": "Northwind Mail", "Connector": null}'),
    "applied-late-after-504": faults.late_effect(0.15, status=504),
    "applied-late-after-silence": faults.late_effect(TIMEOUT_S + 0.05),
}
EVERY_FAULT = NOT_APPLIED | APPLIED


@pytest.fixture(scope="module", params=[True, False], ids=["name-check-on", "name-check-off"])
def after(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, databases: SqliteStores
) -> Iterator[Rig]:
    """A job that met all of these faults once each, an account for each, and has ended."""
    # Between two faulty rows a good one: else so many failures in a row would count as an outage.
    accounts = [account for fault in EVERY_FAULT for account in (fault, f"good-{fault}")]
    with SimulatorThread(small_world(*accounts)) as simulator:
        simulator.call(lambda world: setattr(world.switches, "name_check", request.param))
        engine = databases.new()
        rig = Rig(tmp_path_factory.mktemp("rig"), engine, simulator)
        job_id = rig.load(*(row(account) for account in accounts))
        for account, fault in EVERY_FAULT.items():
            rig.fault(fault, call="install", account_id=account, count=1)
        assert rig.run(job_id).state == "completed"
        yield rig
        rig.end()
        databases.drop(engine)


@pytest.mark.parametrize("account", NOT_APPLIED)
def test_what_was_not_applied_is_looked_for_and_then_installed(after: Rig, account: str) -> None:
    assert after.kinds(account) == ["install", "look", "install"]
    assert after.installs(account) == 1
    item = after.item(account)
    assert (item.state, item.outcome, item.attempts) == ("installed", "created", 2)


@pytest.mark.parametrize("account", APPLIED)
def test_what_was_applied_is_found_and_not_installed_again(after: Rig, account: str) -> None:
    assert after.kinds(account) == ["install", "look"]
    assert after.installs(account) == 1
    item = after.item(account)
    assert (item.state, item.outcome, item.attempts) == ("installed", "recovered", 2)
    [effect] = after.ledger.effects_of("installed", account)
    assert item.account_connector_id == effect.account_connector_id


@pytest.mark.parametrize("account", EVERY_FAULT)
def test_looks_only_after_cyclr_had_time_to_settle(after: Rig, account: str) -> None:
    install, look = after.calls(account)[:2]
    ended_at = install.answered_at or install.ended_at
    assert ended_at is not None
    # The simulator notices a connection that was given up only a moment after we gave it up.
    assert look.received_at - min(ended_at, install.received_at + TIMEOUT_S) >= SETTLE_S / 2


@pytest.mark.parametrize(
    ("account", "status"),
    [("status-500", 500), ("status-408", 408), ("status-202", 202), ("empty-200", 200), ("reset", None)],
)
def test_the_attempts_say_what_cyclr_answered(after: Rig, account: str, status: int | None) -> None:
    assert after.verdicts(account) == [("look_first", "no_answer", status), ("installed", None, None)]
