"""rows are found by their account, over all jobs"""

from alembic import op

revision = "0030"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not CONCURRENTLY: no release has had this table, so none is large yet.
    op.create_index(
        "ix_items_account_id",
        "items",
        ["account_id", "id"],
        postgresql_ops={"account_id": "text_pattern_ops"},
    )


def downgrade() -> None:
    op.drop_index("ix_items_account_id", table_name="items")
