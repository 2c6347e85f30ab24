"""What was understood of a file that is only to be checked. No field holds a secret."""

from typing import Literal

from pydantic import BaseModel, Field

from worker.domain.rows import Way, Ways
from worker.jobs.checking import AccountsToCreate, Checked, Estimate
from worker.jobs.views import WARNING_COUNT, Fault
from worker.web.faults import SHOWN_FAULTS

WAYS: Ways = {
    Way.ACCOUNT_IDS_AS_WRITTEN: "or give the option `as_written` with account_id",
    Way.VERSIONS_AS_WRITTEN: "or give the option `as_written` with connector_version",
    Way.CONNECTOR_FOR_ALL: "or give the option `connector`",
    Way.COLUMNS: "or give the option `map` with what each column is",
    Way.UNDECLARED: "or give the option `allow_undeclared`",
}


class Validation(BaseModel):
    """What was understood of a file that may run. Nothing was created."""

    status: Literal["valid"] = "valid"
    rows: int
    comments: int = Field(description="Lines that begin with #; left out.")
    empty: int = Field(description="Empty lines; left out.")
    planned: int
    refused: int
    skipped: int
    done_by: dict[str, int] = Field(
        description="Which earlier jobs have done the skipped rows, and how many each."
    )
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

    @classmethod
    def of(cls, checked: Checked) -> "Validation":
        source = checked.source
        return cls(
            rows=checked.survey.rows,
            comments=checked.survey.comments,
            empty=checked.survey.empty,
            planned=checked.planned,
            refused=checked.refused,
            skipped=checked.skipped,
            done_by=dict(checked.done_by),
            encoding=source.encoding,
            delimiter=source.delimiter,
            connectors=dict(checked.connectors),
            methods=dict(checked.methods),
            properties=dict(checked.properties.most_common(1_000)),
            new_accounts=checked.new_accounts,
            estimate=checked.estimate,
            warnings=[Fault.of(warning) for warning in checked.warnings[:SHOWN_FAULTS]],
            warning_count=checked.warning_count,
            errors=[Fault.of(problem.told(WAYS)) for problem in checked.problems[:SHOWN_FAULTS]],
            error_count=checked.problem_count,
        )
