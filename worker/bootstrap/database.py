"""The database and the key to the secrets in it."""

from dataclasses import dataclass

from worker.settings import CyclrSettings, InvalidSettings, parse_sealing_keys
from worker.store.sealing import Sealer
from worker.store.session import Engine, open_engine


@dataclass(frozen=True, slots=True)
class Database:
    """What every part that touches the database is given."""

    engine: Engine
    sealer: Sealer
    instance_id: str


def open_database(settings: CyclrSettings) -> Database:
    """Raises: InvalidSettings where the URL or the sealing keys are missing."""
    missing = [
        f"{name} is not set"
        for name, value in (
            ("DATABASE_URL", settings.database_url),
            ("CYCLR_BULK_SEALING_KEYS", settings.cyclr_bulk_sealing_keys),
        )
        if value is None
    ]
    if settings.database_url is None or settings.cyclr_bulk_sealing_keys is None:
        raise InvalidSettings(missing)
    sealer = Sealer(parse_sealing_keys(settings.cyclr_bulk_sealing_keys.get_secret_value()))
    engine = open_engine(
        settings.database_url.get_secret_value(), connections=settings.cyclr_bulk_database_connections
    )
    return Database(engine, sealer, settings.instance_id)
