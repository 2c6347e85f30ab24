"""what an item has changed of what was there, what Cyclr showed of it otherwise, and longer names of how it ended"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("items", sa.Column("changed", sa.JSON(), nullable=True))
    op.add_column("items", sa.Column("shown_otherwise", sa.JSON(), nullable=True))
    # SQLite holds no text to a length, and would copy the whole table. Elsewhere no row is rewritten for a longer one.
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("items", "outcome", type_=sa.String(16), existing_type=sa.String(10))


def downgrade() -> None:
    op.drop_column("items", "shown_otherwise")
    op.drop_column("items", "changed")
