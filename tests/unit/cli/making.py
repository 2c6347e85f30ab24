"""Jobs as the database would show them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from worker.domain.states import JobState
from worker.store.jobs import JobStatus

JOB = JobStatus(
    id="261121-k3x9qd",
    instance_id="i1",
    api_host="api.example.com",
    operation="install",
    state=JobState.RUNNING,
    pause_reason=None,
    source_name="accounts.csv",
    columns=("account_id",),
    delimiter=",",
    total=1_500,
    held=0,
    installed=0,
    failed=0,
    cancelled=0,
    tried=0,
    refused=0,
    skipped=0,
    created_at=datetime(2026, 11, 21, tzinfo=UTC),
    started_at=None,
    finished_at=None,
)


def job(**changes: Any) -> JobStatus:
    return replace(JOB, **changes)
