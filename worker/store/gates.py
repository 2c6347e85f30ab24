"""The gate of an instance, kept beside Redis so that a flush does not lift it."""

from datetime import datetime

from sqlalchemy import Connection, Engine, or_, select, update

from worker.store.session import reading, writing
from worker.store.tables import instances


class DatabaseGate:
    """Until when nobody may call one instance, as the database remembers it. The instance has its row."""

    def __init__(self, engine: Engine, instance_id: str) -> None:
        self._engine = engine
        self._instance_id = instance_id

    def load_gate(self) -> datetime | None:
        """The gate as last saved, be it past or to come; None if there never was one."""
        with reading(self._engine) as connection:
            until = select(instances.c.gate_until).where(instances.c.id == self._instance_id)
            return connection.execute(until).scalar()

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
