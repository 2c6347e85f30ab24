"""what was overwritten is found by when its row ended; rows that are not `created`, and those without a credential"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("without_credential", sa.Integer(), server_default="0", nullable=False))
    _count_without_credential()
    _partial("ix_items_kept_undo", ["settled_at"], "undo IS NOT NULL")
    _partial("ix_items_shown_otherwise", ["target"], "shown_otherwise IS NOT NULL")
    _partial("ix_items_outcome", ["job_id", "outcome", "row_number"], "outcome != 'created'")


def downgrade() -> None:
    for index in ("ix_items_outcome", "ix_items_shown_otherwise", "ix_items_kept_undo"):
        op.drop_index(index, table_name="items")
    op.drop_column("jobs", "without_credential")


def _count_without_credential() -> None:
    # By the partial index of the rows that are not authenticated.
    connection = op.get_bind()
    is_false = "NOT is_authenticated" if connection.dialect.name == "postgresql" else "is_authenticated = 0"
    waiting = f"SELECT count(*) FROM items WHERE job_id = jobs.id AND state = 'installed' AND {is_false}"  # noqa: S608 - no text from outside
    connection.execute(
        sa.text(
            f"UPDATE jobs SET without_credential = ({waiting}) - to_authorise"  # noqa: S608 - no text from outside
            f" WHERE ({waiting}) > to_authorise"
        )
    )


def _partial(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "items", columns, postgresql_where=where, sqlite_where=where)
