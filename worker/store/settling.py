"""Settle: write down how attempts ended, only where the claim in hand still holds: one update of items for each kind of verdict."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Connection,
    Engine,
    Integer,
    Row,
    String,
    Text,
    or_,
    select,
    update,
)
from sqlalchemy.exc import StatementError

from worker.domain.states import RULED, ItemState, PauseReason
from worker.domain.steps import Notes
from worker.domain.verdicts import (
    CalledOff,
    GiveUp,
    Installed,
    LookFirst,
    Released,
    RetryAt,
    Verdict,
    without_texts,
)
from worker.domain.words import CANCELLED_ABSENT
from worker.store.claiming import NOTED, ClaimedItem, set_noted, write_notes
from worker.store.connectors import count_to_authorise
from worker.store.faults import is_of_data
from worker.store.job_states import JobEnd, end_jobs, lock_jobs, log_ended, pause
from worker.store.session import UpdateOfMany, db_now, insert_rows, writing
from worker.store.tables import IS_RUNNING, UtcDateTime, attempts, items, jobs
from worker.store.tallies import CallMade, Failure, add_calls, add_failures, add_outcomes, add_pace
from worker.telemetry import get_logger

log = get_logger()


@dataclass(frozen=True, slots=True)
class Settlement:
    """How one attempt at one item ended. `call`: the last call made (`install`, `look`, ...); `took_s`: the whole attempt;
    `calls`: all that reached Cyclr, or tried to. `notes`: what is done and sent by now.
    """

    item: ClaimedItem
    verdict: Verdict
    notes: Notes
    started_at: datetime
    took_s: float
    call: str
    calls: tuple[CallMade, ...] = ()


def settle(engine: Engine, settlements: Sequence[Settlement], *, pause_above_percent: float) -> int:
    """Write the settlements whose claims still hold, items and counters in one transaction; how many they were.

    What cannot be stored is halved until the bad one stands alone, which is then written without its texts:
    one unstorable answer never stalls the others. What is refused even so is left to its claim, which runs out.
    Safe to repeat. Raises: DBAPIError for all that is not the fault of a value: the database is away, for whoever asks.
    """
    if not settlements:
        return 0
    try:
        settled, ended = writing(
            engine, lambda connection: _settle(connection, settlements, pause_above_percent)
        )
    except (StatementError, ValueError, OverflowError) as refusal:  # the driver's own errors come as they are
        if not is_of_data(refusal):
            raise
        if len(settlements) > 1:
            middle = len(settlements) // 2
            halves = (settlements[:middle], settlements[middle:])
            return sum(settle(engine, half, pause_above_percent=pause_above_percent) for half in halves)
        only = settlements[0]
        plain = replace(only, verdict=without_texts(only.verdict))
        if plain.verdict != only.verdict:
            return settle(engine, [plain], pause_above_percent=pause_above_percent)
        # Only the error's type: its text may hold what was to be stored.
        error = type(refusal).__name__
        log.error("settlement_refused", job_id=only.item.job_id, row=only.item.row_number, error=error)
        return 0
    log_ended(ended)
    return settled


def _settle(
    connection: Connection, settlements: Sequence[Settlement], pause_above_percent: float
) -> tuple[int, list[JobEnd]]:
    now = db_now(connection)
    held = _still_held(connection, settlements)
    mine = list({_key(s): s for s in settlements if _key(s) in held}.values())
    if not mine:
        return 0, []
    write_items(connection, [(s.item, s.verdict, s.notes) for s in mine], now)
    tries = [_to_attempt(s) for s in mine if not isinstance(s.verdict, Released)]
    insert_rows(connection, attempts, tries)
    moves = _moves(mine, first_tries={key for key, tried in held.items() if not tried})
    for job_id, counters in _without_authentication(connection, mine).items():
        moves[job_id] += counters
    pauses = _pauses(mine)
    changed = sorted({*moves, *(job_id for job_id, _ in pauses)})
    locked = lock_jobs(connection, changed)
    for job_id, counters in moves.items():
        changes = {name: jobs.c[name] + by for name, by in counters.items()}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(changes))
    for job_id, reason in pauses:
        pause(connection, job_id, reason)
    ended = end_jobs(connection, changed, now, pause_above_percent)
    add_failures(connection, [to_failure(s.item, s.verdict) for s in mine if isinstance(s.verdict, GiveUp)])
    add_outcomes(
        connection,
        [
            (s.item.job_id, s.verdict.outcome, s.notes.changed)
            for s in mine
            if isinstance(s.verdict, Installed)
        ],
    )
    add_pace(connection, locked, moves, now)
    add_calls(connection, [(s.item.instance_id, call) for s in mine for call in s.calls])
    return len(mine), ended


def _key(settlement: Settlement) -> tuple[int, str]:
    return settlement.item.id, settlement.item.claim_id


def _still_held(connection: Connection, settlements: Sequence[Settlement]) -> dict[tuple[int, str], bool]:
    """(item id, claim id) -> whether the item was tried before, of the items whose claim is still the one in hand."""
    rows = connection.execute(
        select(items.c.id, items.c.claim_id, items.c.tried)
        .where(items.c.id.in_([s.item.id for s in settlements]), IS_RUNNING)
        .order_by(items.c.id)
        .with_for_update()
    )
    return {(row.id, row.claim_id): row.tried for row in rows}


def _to_attempt(settlement: Settlement) -> dict[str, Any]:
    verdict = settlement.verdict
    return {
        "item_id": settlement.item.id,
        "started_at": settlement.started_at,
        "took_s": settlement.took_s,
        "call": settlement.call,
        "http_status": getattr(verdict, "http_status", None),
        "verdict": VERDICT_NAMES[type(verdict)],
        "code": getattr(verdict, "code", None),
        "reason": getattr(verdict, "reason", None) or getattr(verdict, "message", None),
    }


VERDICT_NAMES: dict[type, str] = {
    Installed: "installed",
    RetryAt: "retry",
    LookFirst: "look_first",
    GiveUp: "give_up",
    CalledOff: "called_off",
}
_FINAL_COUNTERS: dict[type, str] = {Installed: "installed", GiveUp: "failed", CalledOff: "cancelled"}


def _moves(mine: Iterable[Settlement], *, first_tries: set[tuple[int, str]]) -> dict[str, Counter[str]]:
    """Job id -> by how much its counters move; jobs whose counters stand still are left out."""
    moves: dict[str, Counter[str]] = {}
    for settlement in mine:
        moved = [_FINAL_COUNTERS.get(type(settlement.verdict))]
        if isinstance(settlement.verdict, GiveUp) and settlement.verdict.code in RULED:
            moved.append("ruled")
        if _key(settlement) in first_tries and not isinstance(settlement.verdict, Released):
            moved.append("tried")
        for name in filter(None, moved):
            moves.setdefault(settlement.item.job_id, Counter())[name] += 1
    return moves


def _without_authentication(connection: Connection, mine: Sequence[Settlement]) -> dict[str, Counter[str]]:
    """Job id -> its items that are done and not authenticated: some wait for their customers, the others have no credential."""
    # Asked only where Cyclr says that something is not authenticated: with keys in the file nothing is.
    found = [s.item for s in mine if isinstance(s.verdict, Installed) and s.verdict.is_authenticated is False]
    of_jobs = Counter(item.job_id for item in found)
    waiting = count_to_authorise(connection, [item.id for item in found], sorted(of_jobs))
    return {
        job_id: Counter(
            to_authorise=waiting.get(job_id, 0), without_credential=count - waiting.get(job_id, 0)
        )
        for job_id, count in of_jobs.items()
    }


def _pauses(mine: Iterable[Settlement]) -> set[tuple[str, PauseReason]]:
    return {
        (s.item.job_id, s.verdict.pause)
        for s in mine
        if isinstance(s.verdict, RetryAt | LookFirst) and s.verdict.pause
    }


def write_items(
    connection: Connection, endings: Sequence[tuple[ClaimedItem, Verdict, Notes]], now: datetime
) -> None:
    """Write down these verdicts with their notes, where the claim in hand still holds. `now`: on the database's clock."""
    for kind, statement in _UPDATES.items():
        rows = [
            {"id": item.id, "claim_id": item.claim_id}
            | write_notes(notes, item.notes)
            | _to_values(item, verdict, now)
            for item, verdict, notes in endings
            if isinstance(verdict, kind)
        ]
        statement.run(connection, rows)


def to_failure(item: ClaimedItem | Row[Any], verdict: GiveUp) -> Failure:
    return Failure(
        item.job_id,
        item.row_number,
        item.account_id,
        code=verdict.code,
        message=verdict.message,
        http_status=verdict.http_status,
        can_retry_help=verdict.can_retry_help,
    )


_BACK_IN_THE_QUEUE = {"state": ItemState.QUEUED, "claim_id": None, "claim_until": None}
_OVER = {"claim_id": None, "claim_until": None, "tried": True, "attempts": items.c.attempts + 1}
_WHY = {"code": String(), "message": Text(), "http_status": Integer()}
_LATER = {"due_at": UtcDateTime(), "cost": Integer(), **_WHY}
_ENDED = {"settled_at": UtcDateTime()}


def _update_for(types: Mapping[str, Any], **always: Any) -> UpdateOfMany:
    """Sets what `types` names to what each row has, and the rest to the same for all rows."""

    def make(given: Mapping[str, Any]) -> Any:
        # The claim's id stands in every statement too: whatever came before, a lost claim changes nothing.
        mine = update(items).where(items.c.id == given["id"], items.c.claim_id == given["claim_id"])
        set_to = set_noted(given) | {name: given[name] for name in types if name != "cost"}
        if "cost" in types:
            set_to["attempts"] = items.c.attempts + given["cost"]
        if "maybe_sent" in types:
            set_to["maybe_sent"] = or_(items.c.maybe_sent, given["maybe_sent"])
        return mine.values(**always, **set_to)

    return UpdateOfMany({"id": BigInteger(), "claim_id": String(), **NOTED, **types}, make)


_UPDATES: dict[type, UpdateOfMany] = {
    Released: _update_for({}, **_BACK_IN_THE_QUEUE),
    RetryAt: _update_for(_LATER, **_BACK_IN_THE_QUEUE, tried=True),
    LookFirst: _update_for(
        _LATER | {"maybe_sent": Boolean()}, **_BACK_IN_THE_QUEUE, tried=True, must_look=True
    ),
    Installed: _update_for(
        _WHY
        | _ENDED
        | {
            "outcome": String(),
            "is_authenticated": Boolean(),
            "is_ours": Boolean(),
            "differs": JSON(none_as_null=True),
        },
        **_OVER,
        state=ItemState.INSTALLED,
        sealed=None,  # no secret of an installed item stays in the database
        must_look=False,
    ),
    GiveUp: _update_for(
        _WHY
        | _ENDED
        | {
            "must_look": Boolean(),
            "can_retry_help": Boolean(),
            "reason": String(),
            "differs": JSON(none_as_null=True),
        },
        **_OVER,
        state=ItemState.FAILED,
    ),
    CalledOff: _update_for(
        _ENDED,
        **_OVER,
        state=ItemState.CANCELLED,
        must_look=False,
        code=None,
        message=CANCELLED_ABSENT,
    ),
}


def _to_values(item: ClaimedItem, verdict: Verdict, now: datetime) -> dict[str, Any]:
    match verdict:
        case RetryAt() | LookFirst():
            sent = {"maybe_sent": verdict.maybe_sent} if isinstance(verdict, LookFirst) else {}
            return sent | {
                "due_at": now + timedelta(seconds=verdict.after_s),
                "cost": int(verdict.costs_attempt),
                "code": verdict.code,
                "message": verdict.reason,
                "http_status": verdict.http_status,
            }
        case Installed():
            return {
                "settled_at": now,
                "outcome": verdict.outcome,
                "code": verdict.code,
                "message": verdict.message,
                "http_status": None,
                "account_connector_id": verdict.account_connector_id,
                "is_authenticated": verdict.is_authenticated,
                "is_ours": verdict.is_ours,
                "differs": list(verdict.differs),
            }
        case GiveUp():
            return {
                "settled_at": now,
                "must_look": not verdict.is_absent,
                "code": verdict.code,
                "message": verdict.message,
                "http_status": verdict.http_status,
                "can_retry_help": verdict.can_retry_help,
                "reason": to_failure(item, verdict).reason,
                "differs": list(verdict.differs) or None,
            }
        case CalledOff():
            return {"settled_at": now}
        case Released():
            return {}
