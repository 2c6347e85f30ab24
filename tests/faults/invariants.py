"""The nine invariants, from the simulator's ledger, the database, and what was seen meanwhile."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Row, select, text

from tests.end_to_end.fleet.fleet import CONNECTOR
from tests.end_to_end.processes.evidence import SLACK_S
from tests.faults.cyclr import CHANGING, OTHER_CONNECTOR, OTHERS
from tests.faults.deployment import BURST, TIMEOUT_S, Deployment
from tests.integration.store.databases import assert_tallies_hold
from tests.limits import assert_within_bound
from worker.domain.states import FINAL_ITEM_STATES
from worker.simulator.ledger import Call, Effect, fingerprint
from worker.store.session import reading
from worker.store.tables import attempts, metadata

MOST_MESSAGES = 5
MOST_MEMORY_BYTES = 400_000_000
# Answers after which Cyclr has surely not acted.
DEFINITE = {400, 401, 403, 404, 429}
HEARD_WITHIN_S = 0.5  # of the answer that closes the gate
PAUSE_WITHIN_S = 2.0
LOOKS = frozenset({"look", "account_connector"})
ONCE = frozenset({"install", "add_property"})  # a second one may be a double
LEAVING_S = 0.5  # from our deadline to where the simulator sees that the caller has left


def assert_all_hold(deployment: Deployment, *, may_be_lost: int = 0) -> None:
    """`may_be_lost`: so many rows may have ended as `worker_lost`, where so many workers died."""
    ledger = deployment.cyclr.read_on()
    rows = [row for row in deployment.rows() if not _was_called_off(deployment, row)]
    tries = _attempts(deployment)
    assert_one_final_state_each(rows, tries, may_be_lost)  # 1
    untrue = deployment.untrue_counters() + deployment.seen.untrue_counters
    assert untrue == [], untrue
    assert_tallies_hold(deployment.engine)
    assert_nothing_twice(ledger.effects, deployment.cyclr.read("counts")["doubles"])  # 2
    assert_as_asked(rows, deployment.asked, deployment.cyclr.read("installed"))
    assert_looked_before_another_install(ledger.calls)  # 3
    assert_within_bound(
        [call.received_at for call in ledger.calls],
        rate=deployment.calls_per_second,
        burst=BURST,
        slack_s=SLACK_S,
    )  # 4
    assert_gates_were_kept(ledger.calls, deployment.seen.deafened)
    assert deployment.seen.looks > 0
    seen = deployment.seen
    assert seen.most_messages <= MOST_MESSAGES + seen.messages_added, f"{seen.most_messages} tickets"  # 5
    assert seen.most_memory_bytes <= MOST_MEMORY_BYTES, f"{seen.most_memory_bytes} bytes"
    assert_attempts_do_not_overlap(tries)  # 6
    assert_no_secret(deployment, ledger.calls)  # 7
    states = {job.id: job.state for job in deployment.jobs() if job.finished_at}  # 8
    cancels = deployment.seen.cancels
    assert states == {
        job_id: "cancelled" if job_id in cancels else "completed" for job_id in deployment.job_ids
    }, (states, deployment.job_ids, seen.said_to_cancel)
    assert_cancels_were_heard(ledger.calls, cancels.values())
    assert_pauses_were_heard(ledger.calls, deployment.seen.pauses)
    assert_one_call_at_a_time(ledger.calls)  # 9


def assert_one_final_state_each(
    rows: Sequence[Row[Any]], tries: Sequence[Row[Any]], may_be_lost: int
) -> None:
    """All are installed, but those that a death may have ended."""
    assert {row.state for row in rows} <= set(FINAL_ITEM_STATES)
    others = [
        (row.row_number, row.state, row.code, row.deaths, row.message)
        for row in rows
        if row.state != "installed"
    ]
    lost = [other for other in others if other[2] == "worker_lost" and other[3] >= 3]
    ended_otherwise = [other for other in others if other not in lost]
    assert ended_otherwise == [], ended_otherwise
    assert len(lost) <= may_be_lost, lost
    installed = Counter(attempt.item_id for attempt in tries if attempt.verdict == "installed")
    assert installed == {row.id: 1 for row in rows if row.state == "installed"}


def assert_nothing_twice(effects: Iterable[Effect], doubles: int) -> None:
    made = Counter((effect.account_id, effect.name) for effect in effects if effect.kind == "installed")
    twice = [target for target, count in made.items() if count > 1]
    assert twice == [], f"installed twice: {twice}"
    assert doubles == 0, f"{doubles} accounts hold two"


def assert_as_asked(
    rows: Iterable[Row[Any]],
    asked: Mapping[str, tuple[str, str]],
    holds: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Each account of a row that is done has the connector once, with the row's values and no others; what else it holds is as it
    was. `asked`: account -> credential, property. `holds`: account -> what is there, as the simulator tells it.
    """
    for row in rows:
        if row.state != "installed":
            continue
        key, secret = asked[row.account_id]
        states = [each["state"] for each in holds[row.account_id] if each["connector"] == CONNECTOR]
        wanted = {
            "Name": CONNECTOR,
            "Description": None,
            "AuthValue": fingerprint(key),
            "Authenticated": "true",
            "property.WebhookSecret": fingerprint(secret),
        }
        assert states == [wanted], f"not as asked: {row.account_id}"
        others = sorted(
            each["Name"] for each in holds[row.account_id] if each["connector"] == OTHER_CONNECTOR
        )
        assert others == sorted(OTHERS), f"what it had: {row.account_id}"


def assert_looked_before_another_install(calls: Sequence[Call]) -> None:
    """Between two calls of a kind that is not to be repeated, of which the first may have been applied, a look began and was
    answered."""
    for account_id, own in _by_account(calls).items():
        unknown: dict[str, Call] = {}
        for call in own:
            if call.kind in LOOKS and call.status == 200:
                unknown = {
                    kind: earlier for kind, earlier in unknown.items() if call.received_at < _over_at(earlier)
                }
            elif call.kind in ONCE:
                assert call.kind not in unknown, f"{call.kind} again without a look: {account_id}"
                if call.status not in DEFINITE:
                    unknown[call.kind] = call


def assert_gates_were_kept(calls: Sequence[Call], deafened: Sequence[tuple[float, float]]) -> None:
    """Nobody calls while Cyclr had asked for a pause, unless who heard of it was killed or frozen just then."""
    times = sorted(call.received_at for call in calls)
    for call in calls:
        if call.answered_at is None or call.status not in (429, 503) or not call.retry_after:
            continue
        at = call.answered_at
        if any(began - HEARD_WITHIN_S - SLACK_S <= at <= ended for began, ended in deafened):
            continue
        late = [time for time in times if at + HEARD_WITHIN_S + SLACK_S < time < _opens_at(call, at)]
        assert late == [], f"{len(late)} calls while Cyclr had asked for a pause of {call.retry_after}"


def assert_attempts_do_not_overlap(tries: Sequence[Row[Any]]) -> None:
    """A worker that was frozen beyond its claim has written nothing: what it wrote would span the next attempt."""
    by_item: dict[int, list[Row[Any]]] = {}
    for attempt in tries:
        by_item.setdefault(attempt.item_id, []).append(attempt)
    for own in by_item.values():
        for earlier, later in pairwise(sorted(own, key=lambda attempt: attempt.started_at)):
            assert earlier.started_at + timedelta(seconds=earlier.took_s) <= later.started_at, (
                earlier,
                later,
            )


def assert_no_secret(deployment: Deployment, calls: Sequence[Call]) -> None:
    """In no Valkey, log, output, URL, argument, table; and no sealed one of an installed row."""
    deployment.look_around_now()
    assert deployment.seen.leaks == set(), deployment.seen.leaks
    texts = {f"{path.name}": path.read_bytes() for path in deployment.folder.glob("*.out")}
    texts |= {f"{path.name}": path.read_bytes() for path in deployment.folder.glob("*.err")}
    texts["URLs"] = "\n".join(call.path for call in calls).encode()
    texts["commands"] = "\n".join(said.out + said.err for said in deployment.said).encode()
    with reading(deployment.engine) as connection:
        for table in metadata.tables.values():
            lines = connection.execute(text(f"SELECT each::text FROM {table.name} AS each")).scalars()
            texts[f"table {table.name}"] = "\n".join(lines).encode()
    told = [where for where, what in texts.items() if deployment.holds_secret(what)]
    assert told == [], told
    sealed = [row.id for row in deployment.rows() if row.sealed and row.state == "installed"]
    assert sealed == [], sealed


def assert_pauses_were_heard(calls: Sequence[Call], pauses: Sequence[tuple[float, float]]) -> None:
    for paused_at, resumed_at in pauses:
        begins = paused_at + PAUSE_WITHIN_S
        late = [
            call.account_id
            for call in calls
            if call.kind in CHANGING and begins + SLACK_S / 2 < call.received_at < resumed_at
        ]
        assert late == [], f"{len(late)} changes started later than {PAUSE_WITHIN_S} s after the pause"


def assert_cancels_were_heard(calls: Sequence[Call], cancels: Iterable[tuple[float, frozenset[str]]]) -> None:
    for cancelled_at, accounts in cancels:
        begins = cancelled_at + PAUSE_WITHIN_S + SLACK_S
        late = [call for call in calls if call.kind in CHANGING and call.received_at > begins]
        late_of_it = [call.account_id for call in late if call.account_id in accounts]
        assert late_of_it == [], (
            f"{len(late_of_it)} changes started later than {PAUSE_WITHIN_S} s after the cancel"
        )


def assert_one_call_at_a_time(calls: Sequence[Call]) -> None:
    for account_id, own in _by_account(calls).items():
        for earlier, later in pairwise(own):
            assert _over_at(earlier) <= later.received_at, f"two calls at once: {account_id}"


def _was_called_off(deployment: Deployment, row: Row[Any]) -> bool:
    """One that had sent something then ends as incomplete."""
    is_over = row.state == "cancelled" or row.code == "incomplete"
    return is_over and row.job_id in deployment.seen.cancels


def _by_account(calls: Sequence[Call]) -> dict[str | None, list[Call]]:
    """Looks, and calls that change something. Each account has one target, and each row one property."""
    by_account: dict[str | None, list[Call]] = {}
    for call in sorted(calls, key=lambda call: call.received_at):
        if call.kind in LOOKS or call.kind in CHANGING:
            by_account.setdefault(call.account_id, []).append(call)
    return by_account


def _over_at(call: Call) -> float:
    """When it was over for us at the latest; one that a frozen process left unanswered stays open beyond that."""
    return min(call.ended_at or float("inf"), call.received_at + TIMEOUT_S + LEAVING_S)


def _opens_at(call: Call, answered_at: float) -> float:
    asked = call.retry_after or "0"
    return answered_at + float(asked) if asked.isdecimal() else parsedate_to_datetime(asked).timestamp()


def _attempts(deployment: Deployment) -> list[Row[Any]]:
    with reading(deployment.engine) as connection:
        return list(connection.execute(select(attempts)))
