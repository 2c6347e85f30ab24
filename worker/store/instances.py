"""What is kept of a Cyclr instance as a whole: its row and its gate, when its workers were last seen, sums over its jobs.

The gate stands here beside Redis, so that a flush does not lift it. Each worker process says every few seconds that it lives, idle
or not. The sums are for whoever watches the whole: their cost grows with the jobs, not with the rows.
"""

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, and_, delete, func, insert, not_, or_, select, update
from sqlalchemy.exc import IntegrityError

from worker.store.faults import note_database_failure, note_database_success
from worker.store.session import db_now, reading, writing
from worker.store.tables import IS_FORGOTTEN, instances, jobs, sightings

READING = "reading the gate"


def ensure_instance(engine: Engine, instance_id: str, api_host: str) -> None:
    """The instance has its row. Safe to repeat."""
    with reading(engine) as connection:
        if connection.execute(select(instances.c.id).where(instances.c.id == instance_id)).first():
            return
    new = insert(instances).values(id=instance_id, api_host=api_host)
    with suppress(IntegrityError):  # another process was first
        writing(engine, lambda connection: connection.execute(new))


class DatabaseGate:
    """Until when nobody may call one instance, as the database remembers it. The instance has its row."""

    def __init__(self, engine: Engine, instance_id: str) -> None:
        self._engine = engine
        self._instance_id = instance_id

    def load_gate(self) -> datetime | None:
        """The gate as last saved, be it past or to come; None if there never was one."""
        until = select(instances.c.gate_until).where(instances.c.id == self._instance_id)
        try:
            with reading(self._engine) as connection:
                found: datetime | None = connection.execute(until).scalar()
        except Exception as error:
            note_database_failure(error, READING)  # all that the limiter says of it is that nobody may call
            raise
        note_database_success(READING)
        return found

    def save_gate(self, until: datetime) -> None:
        """Remember the gate; only ever prolongs. Safe to repeat."""

        def work(connection: Connection) -> None:
            is_earlier = or_(instances.c.gate_until.is_(None), instances.c.gate_until < until)
            connection.execute(
                update(instances)
                .where(instances.c.id == self._instance_id, is_earlier)
                .values(gate_until=until)
            )

        writing(self._engine, work)


FORGOTTEN_AFTER = timedelta(hours=1)


def new_worker_id(machine: str) -> str:
    """An id that no other worker process has, and that tells those of one machine. `machine`: its host's name."""
    return _of_machine(machine) + secrets.token_hex(4)


def _of_machine(machine: str) -> str:
    # 32 bits of it: a host's name may be longer than the whole column.
    return hashlib.sha256(machine.encode()).hexdigest()[:8]


def note_sighting(engine: Engine, worker_id: str, instance_id: str) -> None:
    """This worker process lives. Those that have not said so for an hour are forgotten."""

    def work(connection: Connection) -> None:
        now = db_now(connection)
        mine = update(sightings).where(sightings.c.worker_id == worker_id).values(seen_at=now)
        if connection.execute(mine).rowcount:
            return
        connection.execute(delete(sightings).where(sightings.c.seen_at < now - FORGOTTEN_AFTER))
        new = {"worker_id": worker_id, "instance_id": instance_id, "seen_at": now}
        connection.execute(insert(sightings).values(new))

    writing(engine, work)


def forget_sighting(engine: Engine, worker_id: str) -> None:
    """It is about to end. A second call is safe."""
    mine = delete(sightings).where(sightings.c.worker_id == worker_id)
    writing(engine, lambda connection: connection.execute(mine))


def find_seen_ago_s(engine: Engine, instance_id: str, *, machine: str | None = None) -> float | None:
    """Seconds since a worker of the instance was last seen; None: none within an hour, or they have all ended well.

    `machine`: only those of the host of this name.
    """
    with reading(engine) as connection:
        last = select(func.max(sightings.c.seen_at)).where(sightings.c.instance_id == instance_id)
        if machine is not None:
            last = last.where(sightings.c.worker_id.startswith(_of_machine(machine)))
        seen_at = connection.execute(last).scalar()
        return None if seen_at is None else max(0.0, (db_now(connection) - seen_at).total_seconds())


@dataclass(frozen=True, slots=True)
class Totals:
    """`jobs`: state -> how many. `unfinished`: items that are queued or in hand. `rescues`: ever."""

    jobs: dict[str, int]
    installed: int
    failed: int
    cancelled: int
    unfinished: int
    rescues: int


def read_totals(engine: Engine, instance_id: str) -> Totals:
    counters = [func.coalesce(func.sum(column), 0) for column in (jobs.c.total, jobs.c.installed)]
    counters += [func.coalesce(func.sum(column), 0) for column in (jobs.c.failed, jobs.c.cancelled)]
    mine = and_(jobs.c.instance_id == instance_id, not_(IS_FORGOTTEN))
    by_state = select(jobs.c.state, func.count()).where(mine).group_by(jobs.c.state)
    rescues = select(instances.c.rescues).where(instances.c.id == instance_id)
    with reading(engine) as connection:
        states = {row[0]: row[1] for row in connection.execute(by_state)}
        total, installed, failed, cancelled = connection.execute(select(*counters).where(mine)).one()
        rescued = connection.execute(rescues).scalar() or 0
    unfinished = total - installed - failed - cancelled
    return Totals(states, int(installed), int(failed), int(cancelled), int(unfinished), int(rescued))
