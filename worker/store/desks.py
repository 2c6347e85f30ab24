"""The authorisation desk of a job: whether its links hold, how far they got, and whose authorisation is waited for."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, func, select, update

from worker.store.connectors import waits_for_customer
from worker.store.session import db_now, insert_unless_there, reading, writing
from worker.store.tables import desks, items, job_connectors, links

PAGE = 1_000
BATCH_BYTES = 6


@dataclass(frozen=True, slots=True)
class Desk:
    """Read at constant cost. `batch` None: all links are withdrawn. `has_ended`: their time is over. `opened`: by the customer or by a mail scanner.

    `asking_after`: Cyclr is being asked about all that wait, and has been up to this row. `asked_at`: when that was
    done last.
    """

    job_id: str
    batch: str | None
    made_at: datetime
    expires_at: datetime
    opened: int
    clicked: int
    authorised: int
    asking_after: int | None
    asked_at: datetime | None
    has_ended: bool

    @property
    def holds(self) -> bool:
        """Whether its links lead anywhere."""
        return self.batch is not None and not self.has_ended


@dataclass(frozen=True, slots=True)
class DeskItem:
    """An installed item that waits for its customer, or that its customer has authorised."""

    item_id: int
    row_number: int
    account_id: str
    name: str
    connector_name: str
    generation: int
    withdrawn_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    authorised_at: datetime | None


def make_links(engine: Engine, job_id: str, *, last: timedelta) -> Desk:
    """From now on every item of the job that waits has a link, also one that is installed later; they hold so long.

    Links made before hold as long as they were to, unless they were withdrawn. Safe to repeat.
    """
    batch = secrets.token_hex(BATCH_BYTES)

    def work(connection: Connection) -> Desk:
        now = db_now(connection)
        new = {"made_at": now, "expires_at": (now + last).replace(microsecond=0)}
        insert_unless_there(connection, desks, {"job_id": job_id, **new})
        mine = update(desks).where(desks.c.job_id == job_id)
        connection.execute(mine.values(**new, batch=func.coalesce(desks.c.batch, batch)))
        return _to_desk(connection.execute(select(desks).where(desks.c.job_id == job_id)).one(), now)

    return writing(engine, work)


def withdraw_links(engine: Engine, job_id: str) -> bool:
    """No link of the job holds from now on; whether any did. What customers have authorised stays authorised."""

    def work(connection: Connection) -> bool:
        mine = update(desks).where(desks.c.job_id == job_id, desks.c.batch.is_not(None))
        return bool(connection.execute(mine.values(batch=None)).rowcount)

    return writing(engine, work)


def find_desk(engine: Engine, job_id: str) -> Desk | None:
    """None where nobody has made links of the job."""
    with reading(engine) as connection:
        row = connection.execute(select(desks).where(desks.c.job_id == job_id)).first()
        return _to_desk(row, db_now(connection)) if row else None


def list_waiting(
    engine: Engine, job_id: str, *, after: int = 0, limit: int = 50, account_id: str | None = None
) -> list[DeskItem]:
    """Items that wait for their customer, in the order of the rows. `after`: the last row of the page before."""
    with reading(engine) as connection:
        found = _waiting(connection, job_id).where(items.c.row_number > after)
        return _page(connection, found, limit, account_id)


def list_authorised(
    engine: Engine, job_id: str, *, after: int = 0, limit: int = 50, account_id: str | None = None
) -> list[DeskItem]:
    """As `list_waiting`, of the items that their customers have authorised since."""
    found = (
        select(*_SHOWN)
        .select_from(_WITH_LINK)
        .where(links.c.job_id == job_id, links.c.authorised_at.is_not(None), links.c.row_number > after)
    )
    with reading(engine) as connection:
        return _page(connection, found, limit, account_id, order=links.c.row_number)


def iter_waiting(engine: Engine, job_id: str) -> Iterator[DeskItem]:
    """All of them, page by page: memory does not grow with the job."""
    after = 0
    while page := list_waiting(engine, job_id, after=after, limit=PAGE):
        yield from page
        after = page[-1].row_number


_WITH_LINK = items.join(job_connectors, job_connectors.c.id == items.c.connector_id).outerjoin(
    links, links.c.item_id == items.c.id
)
_SHOWN = (
    items.c.id,
    items.c.row_number,
    items.c.account_id,
    items.c.name,
    job_connectors.c.definition,
    links.c.generation,
    links.c.withdrawn_at,
    links.c.opened_at,
    links.c.clicked_at,
    links.c.authorised_at,
)


def _waiting(connection: Connection, job_id: str) -> Select[Any]:
    return select(*_SHOWN).select_from(_WITH_LINK).where(waits_for_customer(connection, job_id))


def _page(
    connection: Connection,
    found: Select[Any],
    limit: int,
    account_id: str | None,
    order: Any = items.c.row_number,
) -> list[DeskItem]:
    if account_id is not None:
        found = found.where(items.c.account_id == account_id)
    rows: Sequence[Row[Any]] = connection.execute(found.order_by(order).limit(limit)).all()
    return [_to_desk_item(row) for row in rows]


def _to_desk_item(row: Row[Any]) -> DeskItem:
    return DeskItem(
        row.id,
        row.row_number,
        row.account_id,
        row.name,
        row.definition["name"],
        row.generation or 0,
        row.withdrawn_at,
        row.opened_at,
        row.clicked_at,
        row.authorised_at,
    )


def _to_desk(row: Row[Any], now: datetime) -> Desk:
    return Desk(
        row.job_id,
        row.batch,
        row.made_at,
        row.expires_at,
        row.opened,
        row.clicked,
        row.authorised,
        row.asking_after,
        row.asked_at,
        row.expires_at <= now,
    )
