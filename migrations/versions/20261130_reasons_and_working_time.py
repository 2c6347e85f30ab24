"""the key of its reason on every failed item; how long a job has worked"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.store.tables import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("items", sa.Column("reason", sa.String(length=8), nullable=True))
    is_failed = sa.text("state = 'failed'")
    op.create_index(
        "ix_items_failed",
        "items",
        ["job_id", "row_number"],
        postgresql_where=is_failed,
        sqlite_where=is_failed,
    )
    op.create_index(
        "ix_items_reason",
        "items",
        ["job_id", "reason", "row_number"],
        postgresql_where=is_failed,
        sqlite_where=is_failed,
    )
    # What failed before gets its key from the sweep, piece by piece: here it would hold up whoever settles.
    is_without = sa.text("state = 'failed' AND reason IS NULL")
    op.create_index(
        "ix_items_without_reason", "items", ["id"], postgresql_where=is_without, sqlite_where=is_without
    )
    op.add_column("jobs", sa.Column("worked_s", sa.Float(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("working_since", sa.DateTime(timezone=True), nullable=True))
    _count_what_was_worked(op.get_bind())


def _count_what_was_worked(connection: sa.Connection) -> None:
    """As well as can be known: from the start to the end, or to the last row that ended where the job is paused."""
    jobs = sa.table(
        "jobs",
        sa.column("id"),
        sa.column("state"),
        sa.column("started_at", UtcDateTime()),
        sa.column("finished_at", UtcDateTime()),
        sa.column("worked_s"),
        sa.column("working_since", UtcDateTime()),
    )
    points = sa.table("pace_points", sa.column("job_id"), sa.column("at", UtcDateTime()))
    last = sa.select(points.c.job_id, sa.func.max(points.c.at).label("at")).group_by(points.c.job_id)
    last_at = {row.job_id: row.at for row in connection.execute(last)}
    for job in connection.execute(sa.select(jobs).where(jobs.c.started_at.is_not(None))).all():
        values: dict[str, Any] = {"working_since": job.started_at}
        if job.state != "running":
            until = job.finished_at or last_at.get(job.id) or job.started_at
            worked_s = max(0.0, (until - job.started_at).total_seconds())
            values = {"worked_s": worked_s}
        connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(values))


def downgrade() -> None:
    op.drop_column("jobs", "working_since")
    op.drop_column("jobs", "worked_s")
    op.drop_index("ix_items_without_reason", table_name="items")
    op.drop_index("ix_items_reason", table_name="items")
    op.drop_index("ix_items_failed", table_name="items")
    op.drop_column("items", "reason")
