"""Claims: a timed hold on due items, so that no two workers ever have the same one."""

import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, exists, func, or_, select, update

from worker.domain.rows import NewAccount
from worker.domain.states import ItemState, JobState
from worker.store.sealing import SealBroken, Sealer
from worker.store.session import db_now, reading, writing
from worker.store.tables import items, jobs

DEATHS_UNTIL_ALONE = 2  # an item whose worker died this often while holding it is claimed alone


@dataclass(frozen=True, slots=True)
class ClaimedItem:
    """An item in hand, with all that an attempt needs. Holds secrets: never log or store it.

    `secrets`: column -> value as in `Row`; None when the sealed data cannot be opened.
    `is_called_off`: its job was cancelled, so it may only be looked for.
    """

    id: int
    job_id: str
    row_number: int
    claim_id: str
    account_id: str
    name: str
    connector_id: int
    authentication_id: str | None
    description: str | None
    account: NewAccount | None
    account_exists: bool
    must_look: bool
    maybe_sent: bool
    attempts: int
    is_called_off: bool
    look_first: bool
    skip_if_present: bool
    secrets: Mapping[str, str] | None = field(repr=False)


class Standing(enum.Enum):
    """What a prolonged claim was told."""

    HELD = "held"
    LOST = "lost"  # rescued, or settled by another: nothing may be sent or written
    STOPPED = "stopped"  # the job was paused: give the item back
    CALLED_OFF = "called off"  # the job was cancelled: no install may be sent


def _is_claimable(instance_id: str) -> Any:
    # After a cancel an item that may have been sent still gets its look.
    return and_(
        jobs.c.instance_id == instance_id,
        or_(
            jobs.c.state == JobState.RUNNING,
            and_(jobs.c.state == JobState.CANCELLED, items.c.must_look),
        ),
    )


def _is_due(now: datetime) -> Any:
    return and_(items.c.state == ItemState.QUEUED, items.c.due_at <= now)


def count_due(engine: Engine, instance_id: str, *, limit: int) -> int:
    """How many items could be claimed now, counted up to `limit`."""
    with reading(engine) as connection:
        due = (
            select(items.c.id)
            .join(jobs, jobs.c.id == items.c.job_id)
            .where(_is_claimable(instance_id), _is_due(db_now(connection)))
            .limit(limit)
            .subquery()
        )
        return connection.execute(select(func.count()).select_from(due)).scalar_one()


def claim(
    engine: Engine, sealer: Sealer, *, instance_id: str, count: int, claim_s: float, is_idle: bool
) -> list[ClaimedItem]:
    """Claim up to `count` due items for `claim_s` seconds of the database's clock, fair shares for each running job.

    `is_idle`: the process holds nothing else. Only then is an item given that was held by workers that died,
    and then it alone, so that the next death tells on nobody else.
    """

    claim_id = uuid.uuid4().hex  # of its own for every claim statement

    def work(connection: Connection) -> list[Row[Any]]:
        now = db_now(connection)
        until = now + timedelta(seconds=claim_s)
        if is_idle:
            alone = _take(connection, _due_items(instance_id, now, 1, alone=True), claim_id, until)
            if alone:
                return alone
        taken: list[Row[Any]] = []
        waiting = _jobs_with_due_items(connection, instance_id, now)
        while waiting and len(taken) < count:
            share = max(1, (count - len(taken)) // len(waiting))
            for job_id in list(waiting):
                wanted = min(share, count - len(taken))
                if not wanted:
                    break
                mine = _due_items(instance_id, now, wanted, alone=False).where(items.c.job_id == job_id)
                rows = _take(connection, mine, claim_id, until)
                taken += rows
                if len(rows) < wanted:
                    waiting.remove(job_id)
        return taken

    return [_to_item(row, claim_id, sealer) for row in writing(engine, work)]


def _jobs_with_due_items(connection: Connection, instance_id: str, now: datetime) -> list[str]:
    has_due = exists().where(items.c.job_id == jobs.c.id, _is_due(now), _is_claimable(instance_id))
    open_jobs = select(jobs.c.id).where(jobs.c.instance_id == instance_id, has_due).order_by(func.random())
    return list(connection.execute(open_jobs).scalars())


def _due_items(instance_id: str, now: datetime, limit: int, *, alone: bool) -> Any:
    suspicion = items.c.deaths >= DEATHS_UNTIL_ALONE if alone else items.c.deaths < DEATHS_UNTIL_ALONE
    return (
        select(items, jobs.c.state.label("job_state"), jobs.c.look_first, jobs.c.skip_if_present)
        .join(jobs, jobs.c.id == items.c.job_id)
        .where(_is_claimable(instance_id), _is_due(now), suspicion)
        .order_by(items.c.due_at.desc(), items.c.id)
        .limit(limit)
        .with_for_update(of=items, skip_locked=True)
    )


def _take(connection: Connection, due: Any, claim_id: str, until: datetime) -> list[Row[Any]]:
    rows = list(connection.execute(due))
    if rows:
        connection.execute(
            update(items)
            .where(items.c.id.in_([row.id for row in rows]))
            .values(state=ItemState.RUNNING, claim_id=claim_id, claim_until=until)
        )
    return rows


def _to_item(row: Row[Any], claim_id: str, sealer: Sealer) -> ClaimedItem:
    account = None
    if row.account_name is not None:
        account = NewAccount(row.account_name, row.account_description, row.account_timezone)
    return ClaimedItem(
        id=row.id,
        job_id=row.job_id,
        row_number=row.row_number,
        claim_id=claim_id,
        account_id=row.account_id,
        name=row.name,
        connector_id=row.connector_id,
        authentication_id=row.authentication_id,
        description=row.description,
        account=account,
        account_exists=row.account_exists,
        must_look=row.must_look,
        maybe_sent=row.maybe_sent,
        attempts=row.attempts,
        is_called_off=row.job_state == JobState.CANCELLED,
        look_first=row.look_first,
        skip_if_present=row.skip_if_present,
        secrets=_open(row, sealer),
    )


def _open(row: Row[Any], sealer: Sealer) -> Mapping[str, str] | None:
    if row.sealed is None:
        return None
    try:
        return sealer.open(row.sealed, job_id=row.job_id, row_number=row.row_number)
    except SealBroken:
        return None


def prolong(
    engine: Engine,
    item: ClaimedItem,
    *,
    claim_s: float,
    account_exists: bool = False,
    account_created: bool = False,
) -> Standing:
    """Hold `item` for another `claim_s` seconds, and learn how its job stands. Guarded by the claim's id.

    `account_exists`, `account_created`: what is done for good; written on the item, never taken back.
    """

    def work(connection: Connection) -> Standing:
        values: dict[str, Any] = {"claim_until": db_now(connection) + timedelta(seconds=claim_s)}
        if account_exists:
            values["account_exists"] = True
        if account_created:
            values["account_created"] = True
        held = update(items).where(items.c.id == item.id, items.c.claim_id == item.claim_id).values(values)
        if not connection.execute(held).rowcount:
            return Standing.LOST
        state = connection.execute(select(jobs.c.state).where(jobs.c.id == item.job_id)).scalar_one()
        match JobState(state):
            case JobState.RUNNING:
                return Standing.HELD
            case JobState.CANCELLED:
                return Standing.CALLED_OFF
            case _:
                return Standing.STOPPED

    return writing(engine, work)
