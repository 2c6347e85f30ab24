"""One authorisation link: how it stands, and what happens to it. Every change is a guarded update, safe to repeat."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, and_, case, func, or_, select, update

from worker.domain.words import no_longer_waiting
from worker.store.connectors import count_to_authorise, waits_for_customer
from worker.store.session import db_now, insert_unless_there, reading, writing
from worker.store.tables import IS_UNAUTHENTICATED, desks, items, job_connectors, jobs, links

MOST_CLICKS = 10
CLICKS_WITHIN = timedelta(minutes=10)
FIRST_ASK_AFTER = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Link:
    """What the token of a link says: which item, of which batch of its job's links, until when.

    `batch`: another one as soon as all links of the job are withdrawn. `generation`: counts how often this item's
    link was withdrawn. `expires_at`: whole seconds.
    """

    batch: str
    item_id: int
    generation: int
    expires_at: datetime

    def to_text(self) -> str:
        return f"{self.batch}.{self.item_id}.{self.generation}.{int(self.expires_at.timestamp())}"

    @classmethod
    def from_text(cls, text: str) -> "Link":
        """Raises: ValueError."""
        batch, item_id, generation, expires_at = text.split(".")
        return cls(batch, int(item_id), int(generation), datetime.fromtimestamp(int(expires_at), UTC))


class LinkState(StrEnum):
    """How a link stands when somebody comes with it."""

    UNKNOWN = "unknown"  # not of ours, cut by a mail program, or its job is deleted
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    AUTHORISED = "authorised"  # done: the connector holds a credential
    OPEN = "open"  # waits for the customer


@dataclass(frozen=True, slots=True)
class LinkedItem:
    """The item that a link belongs to."""

    instance_id: str
    account_id: str
    account_connector_id: int
    connector_name: str


def find_link(engine: Engine, link: Link) -> tuple[LinkState, LinkedItem | None]:
    """How a link that we have signed stands; no item where it is UNKNOWN."""
    found = (
        select(
            jobs.c.instance_id,
            items.c.account_id,
            items.c.account_connector_id,
            items.c.is_authenticated,
            job_connectors.c.definition,
            desks.c.batch,
            func.coalesce(links.c.generation, 0).label("generation"),
            links.c.withdrawn_at,
        )
        .select_from(items)
        .join(jobs, jobs.c.id == items.c.job_id)
        .join(desks, desks.c.job_id == items.c.job_id)
        .join(job_connectors, job_connectors.c.id == items.c.connector_id)
        .outerjoin(links, links.c.item_id == items.c.id)
        .where(items.c.id == link.item_id)
    )
    with reading(engine) as connection:
        row = connection.execute(found).first()
        now = db_now(connection)
    if row is None or row.account_connector_id is None:
        return LinkState.UNKNOWN, None
    item = LinkedItem(row.instance_id, row.account_id, row.account_connector_id, row.definition["name"])
    return _state(row, link, now), item


def _state(row: Any, link: Link, now: datetime) -> LinkState:
    if row.batch != link.batch or row.generation != link.generation or row.withdrawn_at is not None:
        return LinkState.WITHDRAWN
    if link.expires_at <= now:
        return LinkState.EXPIRED
    return LinkState.AUTHORISED if row.is_authenticated else LinkState.OPEN


def note_opened(engine: Engine, link: Link) -> None:
    """Somebody, or a mail scanner, has opened the link: the first time counts."""

    def work(connection: Connection) -> None:
        if not _put_row(connection, link.item_id):
            return
        first = update(links).where(_is(link), links.c.opened_at.is_(None))
        if connection.execute(first.values(opened_at=db_now(connection))).rowcount:
            _count(connection, link, "opened")

    with reading(engine) as connection:
        seen = connection.execute(select(links.c.opened_at).where(_is(link))).scalar_one_or_none()
    if seen is None:
        writing(engine, work)


def take_click(engine: Engine, link: Link) -> bool:
    """Whether this click may be sent on: False after `MOST_CLICKS` within a time, or where the link holds no more.

    Cyclr is to be asked a little later whether the customer has authorised.
    """

    def work(connection: Connection) -> bool:
        if not _put_row(connection, link.item_id):
            return False
        now = db_now(connection)
        holds = select(desks.c.job_id).where(desks.c.job_id == links.c.job_id, desks.c.batch == link.batch)
        is_new_time = or_(links.c.clicks_since.is_(None), links.c.clicks_since <= now - CLICKS_WITHIN)
        taken = (
            update(links)
            .where(
                _is(link),
                links.c.withdrawn_at.is_(None),
                holds.exists(),
                or_(is_new_time, links.c.clicks < MOST_CLICKS),
            )
            .values(
                clicks=case((is_new_time, 1), else_=links.c.clicks + 1),
                clicks_since=case((is_new_time, now), else_=links.c.clicks_since),
                ask_at=now + FIRST_ASK_AFTER,
                asks=0,
            )
        )
        if not connection.execute(taken).rowcount:
            return False
        first = update(links).where(_is(link), links.c.clicked_at.is_(None))
        if connection.execute(first.values(clicked_at=now)).rowcount:
            _count(connection, link, "clicked")
        return True

    return writing(engine, work)


def withdraw_link(engine: Engine, job_id: str, row_number: int) -> bool:
    """The link of this row holds no more, and it gets no other one until `renew_link`; whether there is such a row."""

    def work(connection: Connection) -> bool:
        item_id = _item_of(connection, job_id, row_number)
        if item_id is None:
            return False
        _put_row(connection, item_id)
        mine = update(links).where(links.c.item_id == item_id, links.c.withdrawn_at.is_(None))
        changes = {"withdrawn_at": db_now(connection), "generation": links.c.generation + 1}
        # Whoever has clicked already may still be on Cyclr's page, so they go on being asked about.
        connection.execute(mine.values(changes))
        return True

    return writing(engine, work)


def renew_link(engine: Engine, job_id: str, row_number: int) -> bool:
    """A row whose link was withdrawn gets a new one; whether there is such a row. The old one stays dead."""

    def work(connection: Connection) -> bool:
        item_id = _item_of(connection, job_id, row_number)
        if item_id is None:
            return False
        connection.execute(update(links).where(links.c.item_id == item_id).values(withdrawn_at=None))
        return True

    return writing(engine, work)


def note_authorised(engine: Engine, item_id: int) -> bool:
    """Cyclr says that the account connector is authenticated; whether that is news."""

    def work(connection: Connection) -> bool:
        now = db_now(connection)
        found = select(items.c.job_id, items.c.message).where(items.c.id == item_id)
        item = connection.execute(found).one_or_none()
        if item is None:
            return False
        job_id, said = item.job_id, no_longer_waiting(item.message)
        to_authorise = count_to_authorise(connection, [item_id], [job_id])
        waited = update(items).where(items.c.id == item_id, IS_UNAUTHENTICATED)
        if not connection.execute(waited.values(is_authenticated=True, message=said)).rowcount:
            return False
        counter = jobs.c.to_authorise if to_authorise else jobs.c.without_credential
        # Not below nothing: the version before this one did not count all of them.
        job = update(jobs).where(jobs.c.id == job_id, counter > 0)
        connection.execute(job.values({counter: counter - 1}))
        _put_row(connection, item_id)
        mine = links.c.item_id == item_id
        connection.execute(update(links).where(mine).values(authorised_at=now, ask_at=None))
        desk = select(links.c.job_id).where(mine).scalar_subquery()
        counted = update(desks).where(desks.c.job_id == desk)
        connection.execute(counted.values(authorised=desks.c.authorised + 1))
        return True

    return writing(engine, work)


def _is(link: Link) -> Any:
    return and_(links.c.item_id == link.item_id, links.c.generation == link.generation)


def _put_row(connection: Connection, item_id: int) -> bool:
    """The item has its row of `links`; False where the item itself is gone."""
    item = select(items.c.job_id, items.c.row_number).where(items.c.id == item_id)
    row = connection.execute(item).first()
    if row is None:
        return False
    values = {"item_id": item_id, "job_id": row.job_id, "row_number": row.row_number}
    insert_unless_there(connection, links, values)
    return True


def _item_of(connection: Connection, job_id: str, row_number: int) -> int | None:
    mine = select(items.c.id).where(items.c.row_number == row_number, waits_for_customer(connection, job_id))
    found: int | None = connection.execute(mine).scalar_one_or_none()
    return found


def _count(connection: Connection, link: Link, counter: str) -> None:
    job_id = select(links.c.job_id).where(links.c.item_id == link.item_id).scalar_subquery()
    counted = update(desks).where(desks.c.job_id == job_id)
    connection.execute(counted.values({counter: desks.c[counter] + 1}))
