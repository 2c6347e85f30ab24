"""which earlier jobs have done the rows of a result file that were left out, and how many each"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("done_by", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "done_by")
