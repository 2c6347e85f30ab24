"""The gate of an instance, kept beside Redis so that a flush does not lift it."""

from datetime import datetime

from sqlalchemy import Connection, Engine, or_, select, update

from worker.store.faults import note_database_failure, note_database_success
from worker.store.session import reading, writing
from worker.store.tables import instances

READING = "reading the gate"


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
