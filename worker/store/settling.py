"""Settle: write down how attempts ended, only where the claim in hand still holds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import StatementError

from worker.domain.states import RULED, PauseReason
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
from worker.store.bulk import insert_rows
from worker.store.claiming import ClaimedItem
from worker.store.connectors import count_to_authorise
from worker.store.faults import is_of_data
from worker.store.job_states import JobEnd, end_jobs, lock_jobs, log_ended, pause
from worker.store.outcomes import to_failure, write_items
from worker.store.session import db_now, writing
from worker.store.tables import IS_RUNNING, attempts, items, jobs
from worker.store.tallies import CallMade, add_calls, add_failures, add_outcomes, add_pace
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
    for job_id, count in _to_authorise(connection, mine).items():
        moves[job_id]["to_authorise"] += count
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
        [(s.item.job_id, s.verdict.outcome, ()) for s in mine if isinstance(s.verdict, Installed)],
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


def _to_authorise(connection: Connection, mine: Sequence[Settlement]) -> dict[str, int]:
    # Asked only where Cyclr says that something is not authenticated: with keys in the file nothing is.
    found = [s.item for s in mine if isinstance(s.verdict, Installed) and s.verdict.is_authenticated is False]
    return count_to_authorise(
        connection, [item.id for item in found], sorted({item.job_id for item in found})
    )


def _pauses(mine: Iterable[Settlement]) -> set[tuple[str, PauseReason]]:
    return {
        (s.item.job_id, s.verdict.pause)
        for s in mine
        if isinstance(s.verdict, RetryAt | LookFirst) and s.verdict.pause
    }
