"""first tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "instances",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("api_host", sa.Text(), nullable=False),
        sa.Column("gate_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_instances"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("instance_id", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("pause_reason", sa.String(length=24), nullable=True),
        sa.Column("source_name", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("look_first", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("skip_if_present", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("total", sa.Integer(), server_default="0", nullable=False),
        sa.Column("held", sa.Integer(), server_default="0", nullable=False),
        sa.Column("installed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cancelled", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tried", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_at_start", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tried_at_start", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refused", sa.Integer(), server_default="0", nullable=False),
        sa.Column("skipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("loader_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name="fk_jobs_instance_id"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_fingerprint", "jobs", ["fingerprint"])
    op.create_index("ix_jobs_instance_id_state", "jobs", ["instance_id", "state"])

    op.create_table(
        "job_connectors",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=16), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("release_id", sa.BigInteger(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("renamed_methods", sa.JSON(), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_connectors_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_job_connectors"),
    )
    op.create_index("uq_job_connectors_job_id_key", "job_connectors", ["job_id", "key"], unique=True)

    op.create_table(
        "unloaded_rows",
        sa.Column("job_id", sa.String(length=16), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("cells", sa.JSON(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=True),
        sa.Column("installed_job_id", sa.String(length=16), nullable=True),
        sa.Column("installed_row_number", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_unloaded_rows_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "row_number", name="pk_unloaded_rows"),
    )
    op.create_table(
        "items",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("job_id", sa.String(length=16), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("target", sa.String(length=40), nullable=False),
        sa.Column("connector_id", sa.Integer(), nullable=False),
        sa.Column("authentication_id", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("account_name", sa.Text(), nullable=True),
        sa.Column("account_description", sa.Text(), nullable=True),
        sa.Column("account_timezone", sa.Text(), nullable=True),
        sa.Column("cells", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claim_id", sa.String(length=32), nullable=True),
        sa.Column("claim_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("must_look", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("maybe_sent", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("tried", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deaths", sa.Integer(), server_default="0", nullable=False),
        sa.Column("account_exists", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("account_created", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=True),
        sa.Column("code", sa.String(length=32), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("can_retry_help", sa.Boolean(), nullable=True),
        sa.Column("account_connector_id", sa.BigInteger(), nullable=True),
        sa.Column("is_authenticated", sa.Boolean(), nullable=True),
        sa.Column("differs", sa.JSON(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["connector_id"], ["job_connectors.id"], name="fk_items_connector_id"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_items_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_items"),
    )
    op.create_index(
        "ix_items_alone",
        "items",
        [sa.literal_column("due_at DESC"), "id"],
        postgresql_where=sa.text("state = 'queued' AND deaths >= 2"),
        sqlite_where=sa.text("state = 'queued' AND deaths >= 2"),
    )
    op.create_index(
        "ix_items_claims",
        "items",
        ["claim_until"],
        postgresql_where=sa.text("state = 'running'"),
        sqlite_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "ix_items_due",
        "items",
        ["job_id", sa.literal_column("due_at DESC"), "id"],
        postgresql_where=sa.text("state = 'queued'"),
        sqlite_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_items_kept_secrets",
        "items",
        ["settled_at"],
        postgresql_where=sa.text("sealed IS NOT NULL AND state NOT IN ('queued', 'running')"),
        sqlite_where=sa.text("sealed IS NOT NULL AND state NOT IN ('queued', 'running')"),
    )
    op.create_index(
        "ix_items_looks",
        "items",
        ["job_id", sa.literal_column("due_at DESC"), "id"],
        postgresql_where=sa.text("state = 'queued' AND must_look"),
        sqlite_where=sa.text("state = 'queued' AND must_look = 1"),
    )
    op.create_index("ix_items_target", "items", ["target"])
    op.create_index("uq_items_job_id_row_number", "items", ["job_id", "row_number"], unique=True)
    op.create_index(
        "uq_items_live_target",
        "items",
        ["target"],
        unique=True,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
        sqlite_where=sa.text("state IN ('queued', 'running')"),
    )

    op.create_table(
        "attempts",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("item_id", ROW_ID, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("took_s", sa.Float(), nullable=False),
        sa.Column("call", sa.String(length=16), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("verdict", sa.String(length=12), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name="fk_attempts_item_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    op.create_index("ix_attempts_item_id", "attempts", ["item_id"])


def downgrade() -> None:
    op.drop_index("ix_attempts_item_id", table_name="attempts")

    op.drop_table("attempts")
    op.drop_index("uq_items_live_target", table_name="items")
    op.drop_index("uq_items_job_id_row_number", table_name="items")
    op.drop_index("ix_items_target", table_name="items")
    op.drop_index("ix_items_looks", table_name="items")
    op.drop_index("ix_items_kept_secrets", table_name="items")
    op.drop_index("ix_items_due", table_name="items")
    op.drop_index("ix_items_claims", table_name="items")
    op.drop_index("ix_items_alone", table_name="items")

    op.drop_table("items")
    op.drop_table("unloaded_rows")
    op.drop_index("uq_job_connectors_job_id_key", table_name="job_connectors")

    op.drop_table("job_connectors")
    op.drop_index("ix_jobs_instance_id_state", table_name="jobs")
    op.drop_index("ix_jobs_fingerprint", table_name="jobs")

    op.drop_table("jobs")
    op.drop_table("instances")
