"""the authorisation desk"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "desks",
        sa.Column("job_id", sa.String(length=16), nullable=False),
        sa.Column("batch", sa.String(length=16), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened", sa.Integer(), server_default="0", nullable=False),
        sa.Column("clicked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("authorised", sa.Integer(), server_default="0", nullable=False),
        sa.Column("asking_after", sa.Integer(), nullable=True),
        sa.Column("asking_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_desks_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name="pk_desks"),
    )
    op.create_table(
        "links",
        sa.Column("item_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("job_id", sa.String(length=16), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clicked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("authorised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clicks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("clicks_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ask_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asks", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name="fk_links_item_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_links_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", name="pk_links"),
    )
    op.create_index("ix_links_job_id_row_number", "links", ["job_id", "row_number"])
    op.create_index(
        "ix_links_ask_at",
        "links",
        ["ask_at"],
        postgresql_where=sa.text("ask_at IS NOT NULL"),
        sqlite_where=sa.text("ask_at IS NOT NULL"),
    )
    # Not CONCURRENTLY: no release has had this table, so none is large yet.
    op.create_index(
        "ix_items_unauthenticated",
        "items",
        ["job_id", "row_number"],
        postgresql_where=sa.text("state = 'installed' AND NOT is_authenticated"),
        sqlite_where=sa.text("state = 'installed' AND is_authenticated = 0"),
    )


def downgrade() -> None:
    op.drop_index("ix_items_unauthenticated", table_name="items")
    op.drop_index("ix_links_ask_at", table_name="links")
    op.drop_index("ix_links_job_id_row_number", table_name="links")
    op.drop_table("links")
    op.drop_table("desks")
