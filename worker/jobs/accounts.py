"""What was done in an account, over all jobs."""

from pydantic import Field

from worker.intake.columns import find_position
from worker.store.accounts import list_account_rows
from worker.store.jobs import JobStatus
from worker.store.listing import Item, find_item, find_job
from worker.store.session import Engine


class AccountItem(Item):
    """An item, and the job that it is of."""

    job_id: str
    operation: str = Field(description="What its job does to its rows: install or update.")
    source_name: str = Field(description="What the job's file is called.", examples=["accounts.csv"])


def list_account_items(
    engine: Engine, account_id: str, *, before: int | None = None, limit: int
) -> tuple[list[AccountItem], int | None]:
    """The newest first, and where the next page begins; None: this is the last one."""
    rows = list_account_rows(engine, account_id, before=before, limit=limit + 1)
    jobs: dict[str, JobStatus | None] = {}
    found: list[AccountItem] = []
    for row in rows[:limit]:
        if row.job_id not in jobs:
            jobs[row.job_id] = find_job(engine, row.job_id)
        job = jobs[row.job_id]
        if job is None:  # forgotten meanwhile
            continue
        item = find_item(engine, job.id, row.row_number, reference_at=find_position(job.columns, "reference"))
        if item is not None:
            told = {name: getattr(item, name) for name in Item.model_fields}
            found.append(
                AccountItem(**told, job_id=job.id, operation=job.operation, source_name=job.source_name)
            )
    return found, rows[limit - 1].item_id if len(rows) > limit else None
