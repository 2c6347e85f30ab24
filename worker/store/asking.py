"""Whom Cyclr is to be asked about next: who has authorised? Several processes may ask; each takes its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Engine, or_, select, update

from worker.store.connectors import waits_for_customer
from worker.store.session import db_now, reading, writing
from worker.store.tables import desks, items, jobs, links

# After a click: soon, since most customers are done within minutes, then ever more seldom, for two days.
ASK_AFTER_S = (15, 30, 60, 120, 300, 900, 3_600, 4 * 3_600, 12 * 3_600, 24 * 3_600)
# Whoever took something and is gone: another takes it after so long.
TAKEN_FOR = timedelta(seconds=120)
# Cyclr could not be asked: a round does not knock every two seconds.
REST = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class ToAsk:
    """An account connector to be asked about."""

    item_id: int
    row_number: int
    account_id: str
    account_connector_id: int


@dataclass(frozen=True, slots=True)
class Round:
    """The next of a job's waiting items, in the order of the rows. `after`: where the round stood."""

    job_id: str
    after: int
    piece: tuple[ToAsk, ...]


_ASKED_ABOUT = (items.c.id, items.c.row_number, items.c.account_id, items.c.account_connector_id)


def is_anything_to_ask(engine: Engine) -> bool:
    """Whether it is worth while to take something; only reads, since this is asked for all the time."""
    with reading(engine) as connection:
        due = select(links.c.item_id).where(links.c.ask_at <= db_now(connection)).limit(1)
        rounds = select(desks.c.job_id).where(desks.c.asking_after.is_not(None)).limit(1)
        return any(connection.execute(each).first() is not None for each in (due, rounds))


def take_after_clicks(engine: Engine, instance_id: str, most: int) -> list[ToAsk]:
    """Items whose customers have clicked and that are due to be asked about; they are due again after `TAKEN_FOR`."""

    def work(connection: Connection) -> list[ToAsk]:
        now = db_now(connection)
        due = (
            select(*_ASKED_ABOUT)
            .join(links, links.c.item_id == items.c.id)
            .join(jobs, jobs.c.id == items.c.job_id)
            .where(links.c.ask_at <= now, jobs.c.instance_id == instance_id)
            .order_by(links.c.ask_at)
            .limit(most)
            .with_for_update(of=links, skip_locked=True)
        )
        taken = [ToAsk(*row) for row in connection.execute(due)]
        mine = update(links).where(links.c.item_id.in_([item.item_id for item in taken]))
        if taken:
            connection.execute(mine.values(ask_at=now + TAKEN_FOR))
        return taken

    return writing(engine, work)


def ask_again(engine: Engine, item_id: int) -> None:
    """It is not authorised yet: it is due later, or never if it was asked about often enough."""

    def work(connection: Connection) -> None:
        mine = links.c.item_id == item_id
        asks = connection.execute(select(links.c.asks).where(mine)).scalar_one_or_none()
        if asks is None:
            return
        later = asks + 1
        ask_at = (
            db_now(connection) + timedelta(seconds=ASK_AFTER_S[later]) if later < len(ASK_AFTER_S) else None
        )
        waits = update(links).where(mine, links.c.ask_at.is_not(None))
        connection.execute(waits.values(ask_at=ask_at, asks=later))

    writing(engine, work)


def ask_no_more(engine: Engine, item_id: int) -> None:
    """Cyclr has no such account connector any more."""
    mine = update(links).where(links.c.item_id == item_id).values(ask_at=None)
    writing(engine, lambda connection: connection.execute(mine))


def begin_round(engine: Engine, job_id: str) -> bool:
    """Ask about all of the job's items that wait; whether that is new: one that is under way goes on."""

    def work(connection: Connection) -> bool:
        mine = update(desks).where(desks.c.job_id == job_id, desks.c.asking_after.is_(None))
        return bool(connection.execute(mine.values(asking_after=0, asking_until=None)).rowcount)

    return writing(engine, work)


def take_of_round(engine: Engine, instance_id: str, most: int) -> Round | None:
    """The next piece of a round that nobody has in hand; None where there is none. A round without any left ends here."""

    def work(connection: Connection) -> Round | None:
        now = db_now(connection)
        free = (
            select(desks.c.job_id, desks.c.asking_after)
            .join(jobs, jobs.c.id == desks.c.job_id)
            .where(
                desks.c.asking_after.is_not(None),
                or_(desks.c.asking_until.is_(None), desks.c.asking_until <= now),
                jobs.c.instance_id == instance_id,
            )
            # Rounds take turns: the one that waits longest is next.
            .order_by(desks.c.asking_until.is_not(None), desks.c.asking_until, desks.c.job_id)
            .limit(1)
            .with_for_update(of=desks, skip_locked=True)
        )
        row = connection.execute(free).first()
        if row is None:
            return None
        waiting = (
            select(*_ASKED_ABOUT)
            .where(waits_for_customer(connection, row.job_id), items.c.row_number > row.asking_after)
            .order_by(items.c.row_number)
            .limit(most)
        )
        piece = tuple(ToAsk(*item) for item in connection.execute(waiting))
        desk = update(desks).where(desks.c.job_id == row.job_id)
        if piece:
            connection.execute(desk.values(asking_until=now + TAKEN_FOR))
            return Round(row.job_id, row.asking_after, piece)
        connection.execute(desk.values(asking_after=None, asking_until=None, asked_at=now))
        return None

    return writing(engine, work)


def put_back(engine: Engine, round_: Round, asked: Sequence[ToAsk]) -> None:
    """The round goes on behind those that were asked about: at once, or in `REST` where some could not be."""

    def work(connection: Connection) -> None:
        after = asked[-1].row_number if asked else round_.after
        mine = update(desks).where(desks.c.job_id == round_.job_id, desks.c.asking_after == round_.after)
        rest = timedelta(0) if len(asked) == len(round_.piece) else REST
        connection.execute(mine.values(asking_after=after, asking_until=db_now(connection) + rest))

    writing(engine, work)
