"""how many customers of a job have still to authorise"""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("to_authorise", sa.Integer(), server_default="0", nullable=False))
    connection = op.get_bind()
    for job_id, connectors in _connectors(connection).items():
        waiting = sum(_count(connection, job_id, *each) for each in connectors)
        if waiting:
            statement = sa.text("UPDATE jobs SET to_authorise = :waiting WHERE id = :job_id")
            connection.execute(statement, {"waiting": waiting, "job_id": job_id})


def downgrade() -> None:
    op.drop_column("jobs", "to_authorise")


def _connectors(connection: sa.Connection) -> dict[str, list[tuple[int, list[str]]]]:
    """Job id -> its connectors that customers authorise, each with the ids of the methods they do it by."""
    found: dict[str, list[tuple[int, list[str]]]] = {}
    for connector_id, job_id, definition in connection.execute(
        sa.text("SELECT id, job_id, definition FROM job_connectors")
    ):
        read = json.loads(definition) if isinstance(definition, str) else definition
        if theirs := [method["id"] for method in read["methods"] if _is_for_customers(method)]:
            found.setdefault(job_id, []).append((connector_id, theirs))
    return found


def _is_for_customers(method: Mapping[str, Any]) -> bool:
    kind = method["auth_type"].casefold()
    return kind == "oauth1" or (
        kind == "oauth2" and (method["oauth2_type"] or "").casefold() != "clientcredentials"
    )


def _count(connection: sa.Connection, job_id: str, connector_id: int, method_ids: list[str]) -> int:
    is_false = "NOT is_authenticated" if connection.dialect.name == "postgresql" else "is_authenticated = 0"
    # By the partial index of the rows that are not authenticated.
    waiting = sa.text(
        f"SELECT count(*) FROM items WHERE job_id = :job_id AND state = 'installed' AND {is_false}"  # noqa: S608 - no text from outside
        " AND account_connector_id IS NOT NULL AND connector_id = :connector_id"
        " AND (authentication_id IS NULL OR authentication_id IN :method_ids)"
    ).bindparams(sa.bindparam("method_ids", expanding=True))
    values = {"job_id": job_id, "connector_id": connector_id, "method_ids": method_ids}
    return int(connection.execute(waiting, values).scalar_one())
