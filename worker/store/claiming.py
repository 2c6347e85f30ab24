"""Claims: a timed hold on due items, so that no two workers ever have the same one."""

import enum
import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Connection,
    Engine,
    LargeBinary,
    Row,
    String,
    bindparam,
    func,
    or_,
    select,
    update,
)

from worker.clock import Moment
from worker.domain.options import JobOptions
from worker.domain.rows import NewAccount
from worker.domain.states import ItemState, JobState
from worker.domain.steps import NOTHING, Notes
from worker.store import due
from worker.store.sealing import Sealer
from worker.store.session import UpdateOfMany, db_now, glancing, reading, writing
from worker.store.tables import DEATHS_UNTIL_ALONE, IS_RUNNING, UtcDateTime, items, jobs


@dataclass(slots=True)
class ClaimedItem:
    """An item in hand, with all that an attempt needs. Holds secrets: never log or store it.

    `secrets`: column -> value as in `Row`; None when the sealed data cannot be opened.
    `notes`: what earlier attempts have done and sent. `mark`: what the database has as sent since the claim, so that
    nothing goes out which is not written there. `is_called_off`: its job was cancelled, so it may only be looked for. `is_alone`: workers died while they held it,
    so its process must take nothing else until it has settled. `not_kept`: columns that the row has, and whose values nobody has any
    more.
    """

    id: int
    instance_id: str
    job_id: str
    operation: str
    row_number: int
    claim_id: str
    account_id: str
    name: str
    connector_id: int
    authentication_id: str | None
    description: str | None
    account: NewAccount | None
    notes: Notes
    must_look: bool
    maybe_sent: bool
    attempts: int
    is_called_off: bool
    options: JobOptions
    secrets: Mapping[str, str] | None = field(repr=False)
    is_alone: bool = False
    mark: str = NOTHING
    not_kept: tuple[str, ...] = ()


class Standing(enum.Enum):
    """What a prolonged claim was told."""

    HELD = "held"
    LOST = "lost"  # rescued, or settled by another: nothing may be sent or written
    STOPPED = "stopped"  # the job was paused: give the item back
    CALLED_OFF = "called off"  # the job was cancelled: no install may be sent


def count_due(engine: Engine, instance_id: str, *, limit: int, is_idle: bool = True) -> int:
    """How many items `claim` could take now, counted up to `limit`. `is_idle`: as there."""
    with reading(engine) as connection:
        return due.count(connection, instance_id, db_now(connection), limit=limit, is_idle=is_idle)


def claim(
    engine: Engine,
    sealer: Sealer,
    *,
    instance_id: str,
    count: int,
    claim_s: float,
    is_idle: bool,
    mark: Callable[[ClaimedItem], str],
    moment: Callable[[], Moment],
) -> tuple[Moment, list[ClaimedItem]]:
    """Claim up to `count` due items for `claim_s` seconds of the database's clock, fair shares for each running job;
    and a `moment` before these seconds began.

    `is_idle`: the process holds nothing else. Only then is an item given that was held by workers that died,
    and then it alone, so that the next death tells on nobody else. `mark`: what is written of an item as sent, where no
    earlier attempt has left a step there: `NOTHING`, or the step that goes out at once. Its items have no secrets yet.
    Never takes more than `count`, whatever is lost.
    """
    claim_id = uuid.uuid4().hex  # of its own for every claim statement
    is_repeated = False
    claimed_at = moment()

    taken: list[tuple[ClaimedItem, bytes | None]] = []  # each with its sealed data

    def work(connection: Connection) -> None:
        nonlocal is_repeated, claimed_at
        # A commit whose answer was lost: what it took must not wait for the claim to run out, beside a second take.
        if is_repeated and (held := due.list_held(connection, claim_id)):
            taken[:] = [one for one in taken if one[0].id in held]
            return
        is_repeated = True
        claimed_at = moment()
        taken.clear()
        now = db_now(connection)
        until = now + timedelta(seconds=claim_s)

        def hold(rows: list[Row[Any]]) -> None:
            of_jobs = {row.job_id: row for row in rows}
            options = {
                job_id: due.read_options(row, json.loads(row.options or "null"))
                for job_id, row in of_jobs.items()
            }
            claimed = [_to_item(row, claim_id, options[row.job_id]) for row in rows]
            for item in claimed:
                item.mark = item.notes.sent or mark(item)
            _hold(connection, claimed, until)
            taken.extend((item, row.sealed) for item, row in zip(claimed, rows, strict=True))

        if is_idle and (alone := due.lock_alone(connection, instance_id, now)):
            hold(alone)
            return
        waiting = due.list_open_jobs(connection, instance_id, now)
        while waiting and (room := count - len(taken)):
            share = max(1, room // len(waiting))
            asked = waiting[:room]
            rows = due.lock_shares(connection, asked, share, now)
            hold(rows)
            given = Counter(row.job_id for row in rows)
            waiting = waiting[room:] + [job for job in asked if given[job.id] == share]

    writing(engine, work)
    for item, sealed in taken:
        item.secrets = sealer.find(sealed, job_id=item.job_id, row_number=item.row_number)
    return claimed_at, [item for item, _ in taken]


# Made once: to make a statement anew costs more than to run it.
_HOLD = (
    update(items)
    .where(items.c.id.in_(bindparam("held_ids", expanding=True)))
    .values(
        state=ItemState.RUNNING,
        claim_id=bindparam("by_claim"),
        claim_until=bindparam("until"),
        sent=bindparam("mark"),
    )
)


def _hold(connection: Connection, claimed: Sequence[ClaimedItem], until: datetime) -> None:
    by_mark: dict[str, list[ClaimedItem]] = {}
    for item in claimed:
        by_mark.setdefault(item.mark, []).append(item)
    for mark, alike in by_mark.items():
        held = {"held_ids": [item.id for item in alike], "by_claim": alike[0].claim_id}
        connection.execute(_HOLD, held | {"until": until, "mark": mark})


def _to_item(row: Row[Any], claim_id: str, options: JobOptions) -> ClaimedItem:
    account = None
    if row.account_name is not None:
        account = NewAccount(row.account_name, row.account_description, row.account_timezone)
    return ClaimedItem(
        id=row.id,
        instance_id=row.instance_id,
        job_id=row.job_id,
        operation=row.operation,
        row_number=row.row_number,
        claim_id=claim_id,
        account_id=row.account_id,
        name=row.name,
        connector_id=row.connector_id,
        authentication_id=row.authentication_id,
        description=row.description,
        account=account,
        notes=read_notes(row),
        must_look=row.must_look,
        maybe_sent=row.maybe_sent,
        attempts=row.attempts,
        is_called_off=row.job_state == JobState.CANCELLED,
        options=options,
        secrets=None,
        is_alone=row.deaths >= DEATHS_UNTIL_ALONE,
        not_kept=tuple(row.spec["not_kept"]) if row.spec else (),
    )


# How notes are kept.
NOTED: Mapping[str, Any] = {
    "account_exists": Boolean(),
    "account_created": Boolean(),
    "steps_done": JSON(none_as_null=True),
    "sent": String(),
    "seen": JSON(none_as_null=True),
    "account_connector_id": BigInteger(),
    "changed": JSON(none_as_null=True),
    "shown_otherwise": JSON(none_as_null=True),
    "undo": LargeBinary(),
}


def write_notes(notes: Notes, before: Notes) -> dict[str, Any]:
    """The values of the columns of `NOTED`. `before`: what was noted when the item was claimed."""
    return {
        "account_exists": notes.account_exists,
        "account_created": notes.account_created,
        "steps_done": list(notes.steps_done) or None,
        "sent": notes.sent,
        "seen": _write_seen(notes),
        "account_connector_id": notes.account_connector_id,
        "changed": list(notes.changed) or None,
        "shown_otherwise": list(notes.shown_otherwise) or None,
        # Nothing where it stays as it is: it may be sealed anew meanwhile, with another key.
        "undo": None if notes.undo is before.undo else notes.undo,
    }


def _write_seen(notes: Notes) -> dict[str, Any] | None:
    seen: dict[str, Any] = {}
    if notes.highest_id is not None:
        seen["highest_id"] = notes.highest_id
    if notes.before:
        seen["before"] = dict(notes.before)
    return seen or None


def set_noted(given: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes of these columns. That the account exists is never taken back, nor what was overwritten."""
    kept = {name: or_(items.c[name], given[name]) for name in ("account_exists", "account_created")}
    kept["undo"] = func.coalesce(given["undo"], items.c.undo)
    return {name: given[name] for name in NOTED} | kept


def read_notes(row: Row[Any]) -> Notes:
    seen = row.seen or {}
    return Notes(
        account_exists=row.account_exists,
        account_created=row.account_created,
        steps_done=tuple(row.steps_done or ()),
        sent=None if row.sent == NOTHING else row.sent,
        highest_id=seen.get("highest_id"),
        account_connector_id=row.account_connector_id,
        before=seen.get("before", {}),
        changed=tuple(row.changed or ()),
        shown_otherwise=tuple(row.shown_otherwise or ()),
        undo=row.undo,
    )


@dataclass(frozen=True, slots=True)
class Hold:
    """An item to be held on to, and what is noted of it."""

    item: ClaimedItem
    notes: Notes


def _write_hold(hold: Hold, until: datetime) -> dict[str, Any]:
    held = {"id": hold.item.id, "claim_id": hold.item.claim_id, "until": until}
    # Of an item in hand it is always said what was sent of it, and be it nothing.
    return held | write_notes(hold.notes, hold.item.notes) | {"sent": hold.notes.sent or NOTHING}


def _make_prolonging(given: Mapping[str, Any]) -> Any:
    mine = update(items).where(items.c.id == given["id"], items.c.claim_id == given["claim_id"])
    return mine.values(claim_until=given["until"], **set_noted(given))


_PROLONG = UpdateOfMany(
    {"id": BigInteger(), "claim_id": String(), "until": UtcDateTime(), **NOTED}, _make_prolonging
)


def prolong(
    engine: Engine, holds: Sequence[Hold], *, claim_s: float, moment: Callable[[], Moment]
) -> tuple[Moment, list[Standing]]:
    """Hold these items for another `claim_s` seconds, in one transaction; how each of them stands, with its job, and a
    `moment` before these seconds began.

    Guarded by the claims' ids. Safe to repeat.
    """

    def work(connection: Connection) -> tuple[Moment, list[Standing]]:
        # In the order in which a settle locks them.
        held = {
            (row.id, row.claim_id)
            for row in connection.execute(
                select(items.c.id, items.c.claim_id)
                .where(items.c.id.in_([hold.item.id for hold in holds]), IS_RUNNING)
                .order_by(items.c.id)
                .with_for_update()
            )
        }
        mine = [hold for hold in holds if _key(hold.item) in held]
        asked_at = moment()
        until = db_now(connection) + timedelta(seconds=claim_s)
        _PROLONG.run(connection, [_write_hold(hold, until) for hold in mine])
        standings = _standings(connection, {hold.item.job_id for hold in mine})
        return asked_at, [
            standings[hold.item.job_id] if _key(hold.item) in held else Standing.LOST for hold in holds
        ]

    return writing(engine, work)


def _key(item: ClaimedItem) -> tuple[int, str]:
    return item.id, item.claim_id


def find_standings(
    engine: Engine, job_ids: Sequence[str], *, moment: Callable[[], Moment]
) -> tuple[Moment, list[Standing]]:
    """How each of these jobs stands for the items that are held of it, and a `moment` before the database was asked.

    A job that is gone counts as lost.
    """
    with glancing(engine) as connection:
        asked_at = moment()
        standings = _standings(connection, set(job_ids))
    return asked_at, [standings.get(job_id, Standing.LOST) for job_id in job_ids]


def _standings(connection: Connection, job_ids: Set[str]) -> dict[str, Standing]:
    rows = connection.execute(select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_(sorted(job_ids))))
    return {row.id: _STANDINGS.get(JobState(row.state), Standing.STOPPED) for row in rows}


_STANDINGS = {JobState.RUNNING: Standing.HELD, JobState.CANCELLED: Standing.CALLED_OFF}
