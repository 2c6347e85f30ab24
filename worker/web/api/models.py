"""What the API answers, beside the views of a job and an item. No field holds a secret."""

from typing import Literal

from pydantic import BaseModel, Field

from worker.domain.connectors import Connector
from worker.domain.rows import Problem, Warning_, Way, Ways
from worker.jobs.checking import AccountsToCreate, Checked, Estimate
from worker.jobs.views import WARNING_COUNT, Fault, Job, JobInFull
from worker.store.listing import AttemptMade, Item
from worker.store.tallies import FailureReason

WAYS: Ways = {
    Way.ACCOUNT_IDS_AS_WRITTEN: "or give the option `as_written` with account_id",
    Way.VERSIONS_AS_WRITTEN: "or give the option `as_written` with connector_version",
    Way.CONNECTOR_FOR_ALL: "or give the option `connector`",
}


class Submitted(JobInFull):
    """A job that was made now. `comments` and `empty` are told with this answer alone, and not kept."""

    comments: int = Field(description="Lines that begin with #; left out.")
    empty: int = Field(description="Empty lines; left out.")


class Jobs(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[Job]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: this is the last one.")


class Items(BaseModel):
    """A page of items, in the order of the file."""

    items: list[Item]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: this is the last one.")


class ItemWithAttempts(Item):
    """An item and the attempts that were made at it, in their order."""

    history: list[AttemptMade]


class Failures(BaseModel):
    """A page of why items failed, the most frequent reason first. `failed`: of all reasons, also those of other pages."""

    failed: int
    reasons: list[FailureReason]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: this is the last one.")


class RetryDone(BaseModel):
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


def to_connector(connector: Connector) -> ConnectorOut:
    fields = connector.to_json()
    return ConnectorOut.model_validate(fields)


def to_validation(checked: Checked) -> Validation:
    source = checked.source
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
        new_accounts=checked.new_accounts,
        estimate=checked.estimate,
        warnings=[to_fault(warning) for warning in checked.warnings[:1_000]],
        warning_count=checked.warning_count,
        errors=[to_fault(problem) for problem in checked.problems[:1_000]],
        error_count=checked.problem_count,
    )


def to_fault(found: Problem | Warning_) -> Fault:
    return Fault.of(found.told(WAYS) if isinstance(found, Problem) else found)
