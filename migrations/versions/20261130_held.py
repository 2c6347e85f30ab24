"""a held item has its target to itself, as a queued one has; a job's held items are found at once"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

LIVE = "uq_items_live_target"


def upgrade() -> None:
    # Not CONCURRENTLY: no release has had this table, so none is large yet.
    _make_live("state IN ('queued', 'running', 'held')")
    is_held = sa.text("state = 'held'")
    op.create_index(
        "ix_items_held", "items", ["job_id", "id"], postgresql_where=is_held, sqlite_where=is_held
    )


def downgrade() -> None:
    op.drop_index("ix_items_held", table_name="items")
    _make_live("state IN ('queued', 'running')")


def _make_live(condition: str) -> None:
    # Under the same name: by it the version before knows why a row was refused.
    op.drop_index(LIVE, table_name="items")
    is_live = sa.text(condition)
    op.create_index(LIVE, "items", ["target"], unique=True, postgresql_where=is_live, sqlite_where=is_live)
