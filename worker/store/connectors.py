"""The connectors of a job, as last resolved."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from worker.domain.connectors import AuthMethod, Connector
from worker.store.session import db_now, reading, writing
from worker.store.tables import job_connectors

STALE_AFTER = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class JobConnector:
    """A connector that rows of a job install. `definition`: as `Connector.to_json`, of the time of the check.

    `is_stale`: to be resolved again before use (after a resume, a retry, or a day).
    """

    id: int
    job_id: str
    release_id: int
    definition: Mapping[str, Any]
    renamed_methods: Mapping[str, str]
    is_stale: bool

    @property
    def name(self) -> str:
        return str(self.definition["name"])

    @property
    def version(self) -> str | None:
        version: str | None = self.definition["version"]
        return version

    def method_id(self, authentication_id: str | None) -> str | None:
        """The id of that method in the release in use."""
        return self.renamed_methods.get(authentication_id, authentication_id) if authentication_id else None


def get_connector(engine: Engine, connector_id: int) -> JobConnector:
    """The connector of this id. Raises: NoResultFound."""
    with reading(engine) as connection:
        row = connection.execute(select(job_connectors).where(job_connectors.c.id == connector_id)).one()
        resolved_at: datetime | None = row.resolved_at
        is_stale = resolved_at is None or resolved_at < db_now(connection) - STALE_AFTER
    return JobConnector(row.id, row.job_id, row.release_id, row.definition, row.renamed_methods, is_stale)


def asks_customers(engine: Engine, job_id: str) -> bool:
    """Whether a connector of the job can be one that the customer authorises."""
    with reading(engine) as connection:
        mine = select(job_connectors.c.definition).where(job_connectors.c.job_id == job_id)
        definitions = connection.execute(mine).scalars().all()
    methods = (AuthMethod(**method) for definition in definitions for method in definition["methods"])
    return any(method.is_for_customers for method in methods)


def fit(definition: Mapping[str, Any], release: Connector) -> dict[str, str] | None:
    """How a new release serves the rows that were checked against `definition`: their method ids -> its own.

    None when it does not: a method or an account property is gone.
    """
    renamed: dict[str, str] = {}
    ids = {method.id for method in release.methods}
    for method in definition["methods"]:
        if method["id"] in ids:
            continue
        alike = [
            m.id for m in release.methods if (m.name, m.auth_type) == (method["name"], method["auth_type"])
        ]
        if len(alike) != 1:
            return None
        renamed[method["id"]] = alike[0]
    offered = {parameter.target_name for parameter in release.account_properties}
    if any(p["target_name"] not in offered for p in definition["account_properties"]):
        return None
    return renamed


def put_release(
    engine: Engine, connector_id: int, release_id: int, renamed_methods: Mapping[str, str]
) -> None:
    """From now on the rows of this connector install this release. Safe to repeat."""

    def work(connection: Connection) -> None:
        values = {
            "release_id": release_id,
            "renamed_methods": dict(renamed_methods),
            "resolved_at": db_now(connection),
        }
        connection.execute(update(job_connectors).where(job_connectors.c.id == connector_id).values(values))

    writing(engine, work)
