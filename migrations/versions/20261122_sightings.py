"""when workers were last seen, and how many rows were rescued"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sightings",
        sa.Column("worker_id", sa.String(length=16), nullable=False),
        sa.Column("instance_id", sa.String(length=16), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name="pk_sightings"),
    )
    op.add_column("instances", sa.Column("rescues", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("instances", "rescues")
    op.drop_table("sightings")
