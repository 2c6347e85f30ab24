"""A claimed item, for rules that look at a few of its fields."""

from typing import Any

from worker.domain.options import JobOptions
from worker.domain.steps import Notes
from worker.store.claiming import ClaimedItem


def claimed_item(**fields: Any) -> ClaimedItem:
    values: dict[str, Any] = {
        "id": 1,
        "instance_id": "instance-a",
        "job_id": "261121-abc",
        "operation": "install",
        "row_number": 2,
        "claim_id": "claim-1",
        "account_id": "acme",
        "name": "Northwind Mail",
        "connector_id": 1,
        "authentication_id": None,
        "description": None,
        "account": None,
        "notes": Notes(account_exists=True),
        "must_look": False,
        "maybe_sent": False,
        "attempts": 0,
        "is_called_off": False,
        "options": JobOptions(),
        "secrets": {},
    }
    return ClaimedItem(**(values | fields))
