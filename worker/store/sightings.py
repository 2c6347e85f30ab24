"""When the worker processes of an instance were last seen: each says so every few seconds, idle or not."""

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from worker.store.session import db_now, reading, writing
from worker.store.tables import sightings

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
