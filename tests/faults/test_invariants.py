"""The checks of the fault suite find what they are there to find."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.faults.invariants import (
    assert_as_asked,
    assert_attempts_do_not_overlap,
    assert_cancels_were_heard,
    assert_gates_were_kept,
    assert_looked_before_another_install,
    assert_nothing_twice,
    assert_one_call_at_a_time,
    assert_one_final_state_each,
    assert_pauses_were_heard,
)
from tests.faults.row_secrets import Secrets
from worker.simulator.ledger import Call, Effect, fingerprint

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def call(
    kind: str,
    received_at: float,
    status: int | None = 200,
    *,
    took_s: float = 0.1,
    retry_after: str | None = None,
) -> Call:
    ended_at = received_at + took_s
    return Call(
        index=0,
        received_at=received_at,
        method="POST",
        path="/",
        kind=kind,
        account_id="acme",
        status=status,
        answered_at=None if status is None else ended_at,
        ended_at=ended_at,
        retry_after=retry_after,
    )


@dataclass
class Try:
    started_at: datetime
    took_s: float
    item_id: int = 1
    verdict: str = "look_first"


@dataclass
class Item:
    state: str
    code: str | None = None
    deaths: int = 0
    id: int = 1
    row_number: int = 2
    account_id: str = "acme"
    message: str | None = None


@pytest.mark.parametrize("kind", ["install", "add_property"])
@pytest.mark.parametrize("first_status", [None, 200, 500, 503])
def test_a_second_one_without_a_look_after_one_that_may_have_been_applied_is_found(
    first_status: int | None, kind: str
) -> None:
    again = [call(kind, 1, first_status), call(kind, 3)]
    with pytest.raises(AssertionError, match=f"{kind} again without a look: acme"):
        assert_looked_before_another_install(again)
    for look in ("look", "account_connector"):
        assert_looked_before_another_install([again[0], call(look, 2), again[1]])


def test_an_install_is_no_second_one_of_a_property_and_a_put_may_be_made_twice() -> None:
    calls = [call("install", 1), call("add_property", 2)]
    assert_looked_before_another_install(
        [*calls, call("change_account_connector", 3, 500), call("change_account_connector", 4)]
    )


def test_a_look_that_failed_or_began_too_early_is_none() -> None:
    first, again = call("install", 1, None, took_s=2.0), call("install", 9)
    for look in (call("look", 5, 500), call("look", 2)):
        with pytest.raises(AssertionError, match="without a look: acme"):
            assert_looked_before_another_install([first, look, again])


def test_an_install_after_a_definite_refusal_needs_no_look() -> None:
    assert_looked_before_another_install([call("install", 1, 429), call("install", 3)])


def test_two_calls_at_once_for_a_target_are_found() -> None:
    with pytest.raises(AssertionError, match="two calls at once: acme"):
        assert_one_call_at_a_time([call("install", 1, took_s=2), call("look", 2)])
    assert_one_call_at_a_time([call("install", 1, took_s=1), call("look", 2)])


def test_an_account_that_is_not_as_its_row_asks_is_found() -> None:
    row, asked = Item("installed"), {"acme": ("key", "secret")}
    state: dict[str, Any] = {
        "Name": "Northwind Mail",
        "Description": None,
        "AuthValue": fingerprint("key"),
        "Authenticated": "true",
        "property.WebhookSecret": fingerprint("secret"),
    }
    others = [
        {"Name": name, "connector": "Fabrikam Sheets", "state": {}}
        for name in ("sheets a", "sheets b", "sheets c")
    ]

    def there(**changes: Any) -> dict[str, Any]:
        return {"Name": "Northwind Mail", "connector": "Northwind Mail", "state": {**state, **changes}}

    assert_as_asked([row], asked, {"acme": [*others, there()]})
    for holds in (
        [*others],
        [*others, there(), there()],
        [*others[1:], there()],
        [*others, there(AuthValue=fingerprint("another"))],
        [*others, there(**{"property.WebhookSecret (41)": fingerprint("secret")})],
        [*others, there(Description="ours")],
    ):
        with pytest.raises(AssertionError, match="acme"):
            assert_as_asked([row], asked, {"acme": holds})


def test_a_second_account_connector_is_found_even_if_one_was_removed() -> None:
    made = Effect("installed", 1, "acme", "Mail")
    with pytest.raises(AssertionError):
        assert_nothing_twice([made, made], doubles=0)
    with pytest.raises(AssertionError):
        assert_nothing_twice([made], doubles=1)
    assert_nothing_twice([made, Effect("installed", 1, "globex", "Mail")], doubles=0)


@pytest.mark.parametrize(
    ("retry_after", "heard_too_late_at"), [("5", 5.5), ("Thu, 01 Jan 1970 00:00:06 GMT", 5.5)]
)
def test_a_call_while_the_gate_is_closed_is_found(retry_after: str, heard_too_late_at: float) -> None:
    asked = call("install", 1, 429, retry_after=retry_after)
    with pytest.raises(AssertionError, match="1 calls while Cyclr had asked for a pause"):
        assert_gates_were_kept([asked, call("install", heard_too_late_at)], [])
    assert_gates_were_kept([asked, call("install", 1.3), call("install", 6.2)], [])
    # Nobody knows what a process had heard that was killed at that moment.
    assert_gates_were_kept([asked, call("install", heard_too_late_at)], [(1.2, 1.3)])


def test_an_install_during_a_pause_is_found() -> None:
    with pytest.raises(AssertionError, match="1 changes started later than"):
        assert_pauses_were_heard([call("install", 13.0)], [(10.0, 13.5)])
    assert_pauses_were_heard(
        [call("install", 11.9), call("look", 13.0), call("install", 13.6)], [(10.0, 13.5)]
    )


def test_an_install_after_a_cancel_is_found() -> None:
    calls = [call("install", 12.9), call("look", 14.0), call("install", 14.0)]
    with pytest.raises(AssertionError, match="1 changes started later than"):
        assert_cancels_were_heard(calls, [(10.0, frozenset({"acme"}))])
    assert_cancels_were_heard(calls, [(10.0, frozenset({"globex"})), (12.0, frozenset({"acme"}))])


def test_attempts_that_a_frozen_worker_wrote_down_are_found() -> None:
    by_the_frozen, by_another = Try(NOON, 30.0), Try(NOON + timedelta(seconds=20), 1.0)
    with pytest.raises(AssertionError):
        assert_attempts_do_not_overlap([by_another, by_the_frozen])
    assert_attempts_do_not_overlap([Try(NOON, 19.0), by_another])


def test_rows_that_end_otherwise_or_twice_are_found() -> None:
    installed, written = Item("installed"), Try(NOON, 1.0, verdict="installed")
    assert_one_final_state_each([installed], [written], 0)
    for rows, tries in (
        ([Item("running")], []),
        ([Item("failed", "no_answer", 3)], []),
        ([Item("failed", "worker_lost", 2)], []),
        ([installed], [written, written]),
        ([installed], []),
    ):
        with pytest.raises(AssertionError):
            assert_one_final_state_each(rows, tries, 1)
    lost = Item("failed", "worker_lost", 3)
    assert_one_final_state_each([lost], [], 1)
    with pytest.raises(AssertionError):
        assert_one_final_state_each([lost], [], 0)


@pytest.mark.parametrize("shift", ["", "x", "xy"])
def test_a_credential_is_found_in_whatever_wrapping(shift: str) -> None:
    secrets = Secrets(seed=1)
    secret = secrets.new().encode()
    wrapped = base64.b64encode(shift.encode() + b'{"api_key": "' + secret + b'"}')
    assert secrets.is_in(b"...body: " + wrapped + b'", "headers"')
    assert secrets.is_in(secret.hex().encode())
    assert secrets.is_in(secret[4:34])
    assert not secrets.is_in(b"nothing of it in " + base64.b64encode(b"any other text of some length"))
