"""what an item has changed of what was there, and what Cyclr showed of it otherwise"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("items", sa.Column("changed", sa.JSON(), nullable=True))
    op.add_column("items", sa.Column("shown_otherwise", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("items", "shown_otherwise")
    op.drop_column("items", "changed")
