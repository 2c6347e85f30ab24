"""warnings of a job's check"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("warning_count", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "job_warnings",
        sa.Column("job_id", sa.String(length=16), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_warnings_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_warnings"),
    )


def downgrade() -> None:
    op.drop_table("job_warnings")
    op.drop_column("jobs", "warning_count")
