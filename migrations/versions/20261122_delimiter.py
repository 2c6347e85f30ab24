"""the delimiter of the file, for its result file"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    delimiter = sa.Column("delimiter", sa.String(length=1), server_default=",", nullable=False)
    op.add_column("jobs", delimiter)


def downgrade() -> None:
    op.drop_column("jobs", "delimiter")
