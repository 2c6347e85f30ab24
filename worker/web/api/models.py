"""What the API answers. No field holds a secret."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from worker.domain.connectors import Connector
from worker.domain.rows import Problem, Warning_, Way, Ways
from worker.domain.server_faults import ServerFault
from worker.domain.states import ItemState, JobState, PauseReason
from worker.domain.words import PAUSES
from worker.jobs.checking import Checked
from worker.jobs.standing import Going
from worker.store.jobs import JobStatus
from worker.store.tallies import FailureGroup
from worker.web.faults import Fault

WARNING_COUNT = (
    "Of all rows; warnings that say the same of many rows are one in `warnings`, with their `count`."
)

WAYS: Ways = {
    Way.ACCOUNT_IDS_AS_WRITTEN: "or give the option `as_written` with account_id",
    Way.VERSIONS_AS_WRITTEN: "or give the option `as_written` with connector_version",
    Way.CONNECTOR_FOR_ALL: "or give the option `connector`",
}


class Job(BaseModel):
    """A job and how far it is. `final` rows are installed, failed or cancelled; the rest is `left`."""

    id: str = Field(examples=["261121-k3x9qd"])
    state: JobState
    pause_reason: PauseReason | None
    pause_message: str | None
    source_name: str = Field(examples=["accounts.csv"])
    api_host: str = Field(description="The Cyclr instance.", examples=["api.cyclr.com"])
    handed_in_by: str | None = Field(description="The name of the API key; null: a command did.")
    total: int
    installed: int
    to_authorise: int = Field(description="Installed; their customers have still to authorise.")
    failed: int
    cancelled: int
    final: int
    left: int
    retrying: int = Field(description="Tried, and to be tried again.")
    held: int = Field(description="Held back by `first`.")
    refused: int = Field(description="Rows with problems that were left out.")
    skipped: int = Field(description="Rows of a result file that were installed already.")
    warning_count: int = Field(description=WARNING_COUNT)
    rows_per_second: float = Field(
        description="Installed or failed: in the last half minute; of all its work once it has ended."
    )
    seconds_left: float | None = Field(description="Null where it is not known, or would mean nothing yet.")
    seconds_worked: float = Field(
        description="While it was running: without pauses, and without the time between its end and a retry."
    )
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobWithWarnings(Job):
    """A job, and what the check of its file warned of."""

    warnings: list[Fault] = Field(description="The first 100: what may go wrong; the rows are accepted.")


class ServerFaultOut(BaseModel):
    """What ails a server: while it does, rows wait."""

    server: Literal["database", "redis", "cyclr"]
    class_: str = Field(alias="class", examples=["25006 read_only_sql_transaction", "READONLY"])
    message: str

    @classmethod
    def of(cls, fault: ServerFault) -> "ServerFaultOut":
        return cls(**fault.fields())


class JobInFull(JobWithWarnings):
    """A job, and what keeps its rows waiting."""

    server_faults: list[ServerFaultOut] = Field(
        description="What ails the database, Redis or Cyclr just now; for a job that runs."
    )


class Submitted(JobWithWarnings):
    """A job that was made now. `comments` and `empty` are told with this answer alone, and not kept."""

    comments: int = Field(description="Lines that begin with #; left out.")
    empty: int = Field(description="Empty lines; left out.")


class Jobs(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[Job]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: this is the last one.")


class Item(BaseModel):
    """A row that was accepted, and how it stands."""

    row: int
    account_id: str
    name: str
    reference: str | None = Field(description="Your own key: what the row has in the column `reference`.")
    state: ItemState
    outcome: str | None = Field(description="How it was installed: created, recovered or adopted.")
    code: str | None = Field(description="Why it failed or waits; stable.")
    message: str | None
    http_status: int | None
    can_retry_help: bool | None
    reason: str | None = Field(description="Failed: the key of its reason, as in `failures`.")
    attempts: int
    due_at: datetime | None = Field(
        description="When it is tried next; null: it is final, in hand or held back."
    )
    account_connector_id: int | None
    is_authenticated: bool | None = Field(
        description="Installed; false: its customer has still to authorise it, or its credential is still to be given at Cyclr."
    )
    to_authorise: bool = Field(description="Whether its customer has still to authorise it.")
    differs: list[str] | None = Field(description="What was there already and differs from the row.")
    account_created: bool
    settled_at: datetime | None


class Items(BaseModel):
    """A page of items, in the order of the file."""

    items: list[Item]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: this is the last one.")


class Attempt(BaseModel):
    """One try at an item. `verdict`: what it led to."""

    started_at: datetime
    took_s: float
    call: str
    http_status: int | None
    verdict: str
    code: str | None
    reason: str | None


class ItemWithAttempts(Item):
    """An item and the attempts that were made at it, in their order."""

    history: list[Attempt]


class FailureReason(BaseModel):
    """Failed items of one reason. `message`: what is the same in all of theirs."""

    reason: str = Field(description="Its key, for `reason` elsewhere.", examples=["3f9a0c12"])
    code: str
    http_status: int | None
    message: str
    count: int
    can_retry_help: bool
    example_row: int
    example_account_id: str


class Failures(BaseModel):
    """A page of why items failed, the most frequent reason first. `failed`: of all reasons, also those of other pages."""

    failed: int
    reasons: list[FailureReason]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: this is the last one.")


class Retried(BaseModel):
    """What a retry did. `wiped`: left out, their credentials are no longer kept; `live`: another job has their target."""

    queued: int
    wiped: int
    live: int
    job: Job


class Method(BaseModel):
    id: str
    name: str
    auth_type: str
    oauth2_type: str | None


class Property(BaseModel):
    """An account property: given as `property.<target_name>`."""

    target_name: str
    label: str
    required: bool
    sensitive: bool
    choices: list[str]


class ConnectorOut(BaseModel):
    """A release in Cyclr's catalogue."""

    release_id: int
    name: str
    version: str | None
    status: str
    methods: list[Method]
    account_properties: list[Property]


class Connectors(BaseModel):
    connectors: list[ConnectorOut]


class Estimate(BaseModel):
    """What a run takes. `looks`: rows that are looked for before anything is sent."""

    installs: int
    looks: int
    new_accounts: int = Field(
        description="Calls that create accounts: one for each row whose account is missing."
    )
    calls: int
    seconds: float


class AccountsToCreate(BaseModel):
    """The accounts that Cyclr does not have and a run creates, each counted once."""

    count: int = Field(examples=[12])
    first: list[str] = Field(
        description="The ids of the first 5.",
        examples=[["acme-1", "globex-2", "initech-3", "hooli-4", "stark-6"]],
    )


class Validation(BaseModel):
    """What was understood of a file that may run. Nothing was created."""

    status: Literal["valid"] = "valid"
    rows: int
    comments: int = Field(description="Lines that begin with #; left out.")
    empty: int = Field(description="Empty lines; left out.")
    planned: int
    refused: int
    skipped: int
    encoding: str
    delimiter: str
    connectors: dict[str, int] = Field(description="Connector -> its rows.")
    methods: dict[str, int] = Field(description="Method -> its rows.")
    properties: dict[str, int] = Field(description="Property -> its rows.")
    new_accounts: AccountsToCreate
    estimate: Estimate
    warnings: list[Fault] = Field(description="The first 1,000.")
    warning_count: int = Field(description=WARNING_COUNT)
    errors: list[Fault] = Field(description="Of the rows that `skip_invalid` leaves out: the first 1,000.")
    error_count: int


def to_job(
    job: JobStatus,
    *,
    api_host: str,
    handed_in_by: str | None,
    going: Going,
    worked_s: float,
) -> Job:
    return Job(
        id=job.id,
        state=job.state,
        pause_reason=job.pause_reason,
        pause_message=PAUSES[job.pause_reason].title if job.pause_reason else None,
        source_name=job.source_name,
        api_host=api_host,
        handed_in_by=handed_in_by,
        total=job.total,
        installed=job.installed,
        to_authorise=job.to_authorise,
        failed=job.failed,
        cancelled=job.cancelled,
        final=job.final,
        left=job.left,
        retrying=job.retrying,
        held=job.held,
        refused=job.refused,
        skipped=job.skipped,
        warning_count=job.warning_count,
        rows_per_second=round(going.rows_per_second, 2),
        seconds_left=None if going.seconds_left is None else round(going.seconds_left, 1),
        seconds_worked=round(worked_s, 1),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def to_job_with_warnings(job: Job, warnings: Sequence[Warning_]) -> JobWithWarnings:
    return JobWithWarnings(**job.model_dump(), warnings=[to_fault(warning) for warning in warnings])


def item_fields(row: Any, *, held_until: datetime) -> dict[str, Any]:
    """`row`: as `worker.store.listing` shows it."""
    shown: Mapping[str, Any] = row._mapping
    is_waiting = row.state == ItemState.QUEUED and row.due_at != held_until
    return {
        "row": row.row_number,
        "due_at": row.due_at if is_waiting else None,
        **{name: shown[name] for name in Item.model_fields if name not in ("row", "due_at")},
    }


def to_attempt(row: Any) -> Attempt:
    return Attempt(**{name: row._mapping[name] for name in Attempt.model_fields})


def to_reason(group: FailureGroup) -> FailureReason:
    return FailureReason(**{name: getattr(group, name) for name in FailureReason.model_fields})


def to_connector(connector: Connector) -> ConnectorOut:
    fields = connector.to_json()
    return ConnectorOut.model_validate(fields)


def to_validation(checked: Checked) -> Validation:
    source, estimate = checked.source, checked.estimate
    return Validation(
        rows=checked.survey.rows,
        comments=checked.survey.comments,
        empty=checked.survey.empty,
        planned=checked.planned,
        refused=checked.refused,
        skipped=checked.skipped,
        encoding=source.encoding,
        delimiter=source.delimiter,
        connectors=dict(checked.connectors),
        methods=dict(checked.methods),
        properties=dict(checked.properties.most_common(1_000)),
        new_accounts=AccountsToCreate(count=checked.new_accounts.count, first=checked.new_accounts.first),
        estimate=Estimate(
            installs=estimate.installs,
            looks=estimate.looks,
            new_accounts=estimate.new_accounts,
            calls=estimate.calls,
            seconds=round(checked.duration_s, 1),
        ),
        warnings=[to_fault(warning) for warning in checked.warnings[:1_000]],
        warning_count=checked.warning_count,
        errors=[to_fault(problem) for problem in checked.problems[:1_000]],
        error_count=checked.problem_count,
    )


def to_fault(found: Problem | Warning_) -> Fault:
    told = found.told(WAYS) if isinstance(found, Problem) else found
    return Fault(
        row=told.row_number,
        column=told.column,
        message=told.reason,
        count=told.count if told.count > 1 else None,
        rows=[list(span) for span in told.spans] or None,
    )
