"""The connectors of a job, as last resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, and_, false, func, or_, select, update

from worker.domain.connectors import AuthMethod, Connector, asks_customer
from worker.store.session import db_now, glancing, reading, writing
from worker.store.tables import IS_UNAUTHENTICATED, items, job_connectors

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

    @property
    def has_one_method(self) -> bool:
        """Whether there is no doubt by which method it was installed."""
        return len(self.definition["methods"]) <= 1

    def declares(self, target_name: str) -> bool:
        """Whether an install takes this property."""
        return any(p["target_name"] == target_name for p in self.definition["account_properties"])

    def asks_customer(self, authentication_id: str | None) -> bool:
        """Whether a row that names this method is authorised by its customer."""
        return asks_customer(_methods(self.definition), authentication_id)


def _methods(definition: Mapping[str, Any]) -> list[AuthMethod]:
    return [AuthMethod(**method) for method in definition["methods"]]


def get_connector(engine: Engine, connector_id: int) -> JobConnector:
    """The connector of this id. Raises: NoResultFound."""
    with glancing(engine) as connection:  # items are in hand meanwhile
        row = connection.execute(select(job_connectors).where(job_connectors.c.id == connector_id)).one()
        resolved_at: datetime | None = row.resolved_at
        is_stale = resolved_at is None or resolved_at < db_now(connection) - STALE_AFTER
    return JobConnector(row.id, row.job_id, row.release_id, row.definition, row.renamed_methods, is_stale)


def find_key(engine: Engine, job_id: str) -> str | None:
    """How one of the job's connectors is named in its file, as `connector_key` has it; None where it has none."""
    with reading(engine) as connection:
        mine = select(job_connectors.c.key).where(job_connectors.c.job_id == job_id)
        key: str | None = connection.execute(mine.order_by(job_connectors.c.id).limit(1)).scalar()
    return key


def asks_customers(engine: Engine, job_id: str) -> bool:
    """Whether a connector of the job can be one that the customer authorises."""
    with reading(engine) as connection:
        mine = select(job_connectors.c.definition).where(job_connectors.c.job_id == job_id)
        definitions = connection.execute(mine).scalars().all()
    return any(method.is_for_customers for definition in definitions for method in _methods(definition))


def waits_for_customer(connection: Connection, *job_ids: str) -> Any:
    """What is true of the items of these jobs whose customer has still to authorise: `asks_customer`, as a condition."""
    mine = select(job_connectors.c.id, job_connectors.c.definition).where(
        job_connectors.c.job_id.in_(job_ids)
    )
    connector_ids: list[int] = []
    method_ids: set[str] = set()
    for row in connection.execute(mine):
        if theirs := [method.id for method in _methods(row.definition) if method.is_for_customers]:
            connector_ids.append(row.id)
            method_ids.update(theirs)
    if not connector_ids:
        return false()
    return and_(
        items.c.job_id.in_(job_ids) if len(job_ids) > 1 else items.c.job_id == job_ids[0],
        IS_UNAUTHENTICATED,
        items.c.account_connector_id.is_not(None),
        items.c.connector_id.in_(connector_ids),
        or_(items.c.authentication_id.is_(None), items.c.authentication_id.in_(sorted(method_ids))),
    )


def count_to_authorise(
    connection: Connection, item_ids: Sequence[int], job_ids: Sequence[str]
) -> dict[str, int]:
    """Job id -> how many of these items wait for their customers; jobs without any are left out."""
    if not item_ids:
        return {}
    waiting = (
        select(items.c.job_id, func.count())
        .where(items.c.id.in_(item_ids), waits_for_customer(connection, *job_ids))
        .group_by(items.c.job_id)
    )
    return {row[0]: row[1] for row in connection.execute(waiting)}


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
