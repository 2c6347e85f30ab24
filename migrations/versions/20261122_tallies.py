"""tallies: failures by reason, pace, calls"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.domain.reasons import cut, in_common, reason_key

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("pace_s", sa.Integer(), server_default="1", nullable=False))
    failure_tallies = op.create_table(
        "failure_tallies",
        sa.Column("job_id", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("can_retry_help", sa.Boolean(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("example_row", sa.Integer(), nullable=False),
        sa.Column("example_account_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_failure_tallies_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "reason", name="pk_failure_tallies"),
    )
    op.create_index("ix_failure_tallies_job_id_count", "failure_tallies", ["job_id", "count"])
    op.create_table(
        "pace_points",
        sa.Column("job_id", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("installed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_pace_points_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "at", name="pk_pace_points"),
    )
    op.create_table(
        "call_tallies",
        sa.Column("instance_id", sa.String(length=16), nullable=False),
        sa.Column("call", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("took_s", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name="fk_call_tallies_instance_id"),
        sa.PrimaryKeyConstraint("instance_id", "call", "outcome", "bucket", name="pk_call_tallies"),
    )
    tallies = _tallies_of_what_failed_before(op.get_bind())
    if tallies:
        op.bulk_insert(failure_tallies, tallies)


def _tallies_of_what_failed_before(connection: sa.Connection) -> list[dict[str, Any]]:
    failed = connection.execute(
        sa.text(
            "SELECT job_id, row_number, account_id, code, http_status, message, can_retry_help"
            " FROM items WHERE state = 'failed' ORDER BY job_id, row_number"
        )
    )
    tallies: dict[tuple[str, str], dict[str, Any]] = {}
    for row in failed:
        can_retry_help = bool(row.can_retry_help)
        reason = reason_key(row.code, row.http_status, row.message, can_retry_help=can_retry_help)
        parts = cut(row.message)
        tally = tallies.setdefault(
            (row.job_id, reason),
            {
                "job_id": row.job_id,
                "reason": reason,
                "code": row.code,
                "http_status": row.http_status,
                "can_retry_help": can_retry_help,
                "parts": parts,
                "count": 0,
                "example_row": row.row_number,
                "example_account_id": row.account_id,
            },
        )
        tally["count"] += 1
        tally["parts"] = in_common(tally["parts"], parts)
    return list(tallies.values())


def downgrade() -> None:
    op.drop_table("call_tallies")
    op.drop_table("pace_points")
    op.drop_table("failure_tallies")
    op.drop_column("jobs", "pace_s")
