"""sessions of browsers are rows; old jobs are found by their end and deleted; what they tried is remembered"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "web_sessions",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("api_key_id", sa.String(length=8), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_web_sessions"),
    )
    op.create_index("ix_web_sessions_api_key_id_begun_at", "web_sessions", ["api_key_id", "begun_at"])
    op.create_index("ix_web_sessions_ends_at", "web_sessions", ["ends_at"])
    op.create_table(
        "remembered_targets",
        sa.Column("target", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("target", name="pk_remembered_targets"),
    )
    has_ended = sa.text("finished_at IS NOT NULL")
    op.create_index(
        "ix_jobs_finished_at", "jobs", ["finished_at"], postgresql_where=has_ended, sqlite_where=has_ended
    )
    # Not CONCURRENTLY: no release has had this table, so none is large yet.
    op.create_index("ix_items_connector_id", "items", ["connector_id"])


def downgrade() -> None:
    op.drop_index("ix_items_connector_id", table_name="items")
    op.drop_index("ix_jobs_finished_at", table_name="jobs")
    op.drop_table("remembered_targets")
    op.drop_table("web_sessions")
