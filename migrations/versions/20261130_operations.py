"""operations: what a row was sent and what is known of it, a job's options as one value, tallies by outcome

Only columns that may be empty or have a constant default: PostgreSQL adds them without touching a row.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("items", sa.Column("sent", sa.String(length=16), nullable=True))
    op.add_column("items", sa.Column("steps_done", sa.JSON(), nullable=True))
    op.add_column("items", sa.Column("seen", sa.JSON(), nullable=True))
    op.add_column("items", sa.Column("is_ours", sa.Boolean(), nullable=True))
    op.add_column("items", sa.Column("spec", sa.JSON(), nullable=True))
    op.add_column("items", sa.Column("undo", sa.LargeBinary(), nullable=True))
    op.add_column("items", sa.Column("held_for", sa.String(length=12), nullable=True))
    op.add_column(
        "jobs", sa.Column("operation", sa.String(length=12), server_default="install", nullable=False)
    )
    op.add_column("jobs", sa.Column("options", sa.JSON(), nullable=True))
    op.add_column("jobs", sa.Column("plan_id", sa.String(length=16), nullable=True))
    op.add_column("jobs", sa.Column("ruled", sa.Integer(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("ruled_at_start", sa.Integer(), server_default="0", nullable=False))
    op.create_index("uq_jobs_plan_id", "jobs", ["plan_id"], unique=True)
    op.create_table(
        "outcome_tallies",
        sa.Column("job_id", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_outcome_tallies_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "outcome", "field", name="pk_outcome_tallies"),
    )


def downgrade() -> None:
    op.drop_table("outcome_tallies")
    op.drop_index("uq_jobs_plan_id", table_name="jobs")
    for column in ("ruled_at_start", "ruled", "plan_id", "options", "operation"):
        op.drop_column("jobs", column)
    for column in ("held_for", "undo", "spec", "is_ours", "seen", "steps_done", "sent"):
        op.drop_column("items", column)
