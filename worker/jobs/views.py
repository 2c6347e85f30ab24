"""A job as it is told: by the API and by commands with `--json`, whose names the fields are; pages and lines read it too.

An item as it is told is `worker.store.listing.Item`. No field holds a secret.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.cyclr.errors import LimiterAway
from worker.domain.options import JobOptions
from worker.domain.pace import LimiterState, NextStep
from worker.domain.rows import Problem, Warning_
from worker.domain.server_faults import Server, ServerFault
from worker.domain.states import JobState, PauseReason
from worker.domain.words import PAUSES, as_list, counted
from worker.store.faults import database_fault
from worker.store.jobs import JobStatus, find_next_step, list_warnings, read_in_hand
from worker.store.listing import find_job
from worker.store.readiness import find_database_fault
from worker.store.session import Engine
from worker.store.tallies import (
    FailureReason,
    OutcomeCount,
    PacePoint,
    list_failures,
    list_outcomes,
    list_pace,
)

RATE_OVER_S = 30
SHOWN_EARLIER = 5  # jobs
# A time left means something once rows have ended for so long, and so many.
MEANS_AFTER_S = 10
LEAST_ENDED = 5
WARNING_COUNT = (
    "Of all rows; warnings that say the same of many rows are one in `warnings`, with their `count`."
)


class Fault(BaseModel):
    """What is wrong in one place, or in many rows the same. `row`: the first, as a spreadsheet shows it; null: of the whole file
    or of the request."""

    row: int | None = None
    column: str | None = None
    message: str
    count: int | None = Field(None, description="How many rows have it, where it is more than one.")
    rows: list[Annotated[list[int], Field(min_length=2, max_length=2)]] | None = Field(
        None,
        description="Where it is more than one: the first of these rows, as pairs of a first and a last row.",
    )

    @classmethod
    def of(cls, found: Problem | Warning_) -> "Fault":
        return cls(
            row=found.row_number,
            column=found.column,
            message=found.reason,
            count=found.count if found.count > 1 else None,
            rows=[list(span) for span in found.spans] or None,
        )


class ServerFaultOut(BaseModel):
    """What ails a server: while it does, rows wait."""

    server: Literal["database", "redis", "cyclr"]
    class_: str = Field(alias="class", examples=["25006 read_only_sql_transaction", "READONLY"])
    message: str

    @classmethod
    def of(cls, fault: ServerFault) -> "ServerFaultOut":
        return cls(**fault.fields())


class LimiterOut(BaseModel):
    """How fast Cyclr may be called just now, by all processes together."""

    calls_per_second: float = Field(
        description="At most, just now: lower than the limit for a while after a 429."
    )
    configured_per_second: float = Field(description="The limit that is in force.")
    own_per_second: float = Field(description="The limit that whoever tells this was set to.")
    gate_closed_for_s: float = Field(description="Nobody calls for so long.")
    outage_level: int = Field(description="0: Cyclr answers. Else it is asked again ever more seldom.")

    @classmethod
    def of(cls, state: LimiterState) -> "LimiterOut":
        return cls(
            calls_per_second=state.rate_per_second,
            configured_per_second=state.pace.per_second,
            own_per_second=state.pace.own_per_second,
            gate_closed_for_s=state.gate_closed_for_s,
            outage_level=state.outage_level,
        )


class Job(BaseModel):
    """A job and how far it is. `final` rows are done (`installed`), failed or cancelled; the rest is `left`."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(examples=["261121-k3x9qd"])
    operation: str = Field(description="What it does to its rows.", examples=["install"])
    options: dict[str, bool | str | list[str] | None] = Field(
        description="What it was begun with, beside the connector and `first`.",
        examples=[JobOptions().told()],
    )
    state: JobState
    pause_reason: PauseReason | None = Field(description=as_list(PAUSES))
    pause_message: str | None
    pause_advice: str | None = Field(description="What to do then.")
    source_name: str = Field(examples=["accounts.csv"])
    api_host: str = Field(description="The Cyclr instance.", examples=["api.cyclr.com"])
    handed_in_by: str | None = Field(description="The name of the API key; null: a command did.")
    total: int
    installed: int
    to_authorise: int = Field(description="Done; their customers have still to authorise.")
    without_credential: int = Field(
        description="Done as asked, without a credential: it is given at Cyclr later, or there is none."
    )
    failed: int
    cancelled: int
    final: int
    left: int
    retrying: int = Field(description="Tried, and to be tried again; some may be in hand.")
    held: int = Field(description="Held back by `first`.")
    refused: int = Field(description="Rows with problems that were left out.")
    skipped: int = Field(
        description="Rows of a result file that earlier jobs have done: they were left out, and not looked at again."
    )
    done_by: dict[str, int] = Field(
        description="Which jobs have done the skipped rows, and how many each.",
        examples=[{"261121-k3x9qd": 1190}],
    )
    warning_count: int = Field(description=WARNING_COUNT)
    rows_per_second: float = Field(
        description="Done or failed: in the last half minute; of all its work once it has ended."
    )
    seconds_left: float | None = Field(description="Null where it is not known, or would mean nothing yet.")
    seconds_worked: float = Field(
        description="While it was running: without pauses, and without the time between its end and a retry."
    )
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobInFull(Job):
    """A job, what the check of its file warned of, why rows of it failed, and what keeps the others waiting."""

    warnings: list[Fault] = Field(description="The first 100: what may go wrong; the rows are accepted.")
    in_hand: int = Field(description="Rows that a worker has in hand just now.")
    outcomes: list[OutcomeCount] | None = Field(
        description="How the done rows came to be so; null where some were done before that was counted."
    )
    failures: list[FailureReason] = Field(description="Why rows failed: the 100 most frequent reasons.")
    limiter: LimiterOut | None = Field(
        description="Null where nobody calls from here, or nobody may: see `server_faults`."
    )
    server_faults: list[ServerFaultOut] = Field(
        description="What ails the database, Redis or Cyclr just now."
    )


# What is told as a job's row has it.
_OTHERS = ("options", "rows_per_second", "seconds_left", "seconds_worked")
_STORED = tuple(name for name in Job.model_fields if name not in _OTHERS)


@dataclass(frozen=True, slots=True)
class Going:
    """How a job goes. `rows_per_second`: rows done or failed, lately, or of all its work once it has ended; 0 where none
    ended. `seconds_left`: None where it is not known, or would mean nothing yet.
    """

    rows_per_second: float = 0.0
    seconds_left: float | None = None


def read_going(engine: Engine, job: JobStatus, now: datetime) -> Going:
    """At constant cost, whatever the job's size."""
    if job.state is not JobState.RUNNING:
        return how_it_goes(job, (), None, now)
    return how_it_goes(job, list_pace(engine, job.id), find_next_step(engine, job), now)


def how_it_goes(job: JobStatus, points: Sequence[PacePoint], step: NextStep | None, now: datetime) -> Going:
    """`step`: what the job waits for; None: nothing is known of it."""
    if job.finished_at is not None:
        worked_s = job.worked_for_s(now)
        return Going((job.installed + job.failed) / worked_s if worked_s > 0 else 0.0)
    if job.working_since is None:
        return Going()
    since = max(job.working_since, now - timedelta(seconds=RATE_OVER_S))
    lately = [point for point in points if point.at + timedelta(seconds=point.over_s) > since]
    if not lately:
        return Going()
    # From the first row on: what it took workers to start is no pace.
    is_first = all(point.at >= lately[0].at or point.at < job.working_since for point in points)
    began = lately[0].at if is_first else min(since, lately[0].at)
    over_s = max((now - began).total_seconds(), lately[0].over_s)
    ended = sum(point.installed + point.failed for point in lately)
    per_second = ended / over_s
    left = job.left - job.held
    if left <= 0 or over_s < MEANS_AFTER_S or ended < LEAST_ENDED:
        return Going(per_second)
    # What is due later, or may not be sent yet, is not done sooner, however fast the rows before it were.
    seconds_left = left / per_second
    if step is not None:
        waits_s = max(0.0, step.due_in_s or 0.0, step.gate_closed_for_s)
        seconds_left = max(waits_s + seconds_left, step.last_due_in_s or 0.0)
    return Going(per_second, seconds_left)


def view_job(engine: Engine, job: JobStatus, now: datetime) -> Job:
    """At constant cost, whatever the job's size; so are the other two."""
    going = read_going(engine, job, now)
    return Job(
        **{name: getattr(job, name) for name in _STORED},
        options=job.options.told(),
        rows_per_second=round(going.rows_per_second, 2),
        seconds_left=None if going.seconds_left is None else round(going.seconds_left, 1),
        seconds_worked=round(job.worked_for_s(now), 1),
    )


def view_job_in_full(
    engine: Engine,
    job: JobStatus,
    now: datetime,
    limiter: LimiterState | ServerFault | None,
    faults: Sequence[ServerFault] | None = None,
) -> JobInFull:
    """`limiter`: how it stands, or why nobody may call; None: there is none here. `faults`: as `find_server_faults`
    has them, where somebody has asked already.
    """
    if faults is None:
        faults = find_server_faults(engine, limiter)
    return JobInFull(
        **dict(view_job(engine, job, now)),
        warnings=[Fault.of(each) for each in list_warnings(engine, job.id)] if job.warning_count else [],
        in_hand=read_in_hand(engine, job.id).count,
        outcomes=list_outcomes(engine, job.id),
        failures=list_failures(engine, job.id) if job.failed else [],
        limiter=LimiterOut.of(limiter) if isinstance(limiter, LimiterState) else None,
        server_faults=[ServerFaultOut.of(fault) for fault in faults],
    )


def earlier_lines(engine: Engine, done_by: Mapping[str, int]) -> Iterator[str]:
    """The rows of a result file that were left out, by the jobs that have done them. `done_by`: job id -> how many."""
    ranked = sorted(done_by.items(), key=lambda each: -each[1])
    for job_id, count in ranked[:SHOWN_EARLIER]:
        job = find_job(engine, job_id)  # None where it was deleted
        ended_at = job and job.finished_at
        when = f" on {ended_at.astimezone(UTC):%Y-%m-%d}" if ended_at else ""
        were = "was" if count == 1 else "were"
        yield f"{counted(count, 'row')} {were} done by job {job_id}{when} and {were} not looked at again; `--look-again` does."
    if rest := sum(count for _, count in ranked[SHOWN_EARLIER:]):
        yield f"{counted(rest, 'row')} more by other jobs."


def find_server_faults(engine: Engine, limiter: LimiterState | ServerFault | None) -> list[ServerFault]:
    """What ails the database, as one question shows, and what `limiter` says of Redis or Cyclr."""
    database = find_database_fault(engine)
    outage = limiter.outage if isinstance(limiter, LimiterState) else limiter
    faults = [] if database is None else [database]
    return faults if outage is None or outage in faults else [*faults, outage]


def why_nobody_calls(away: LimiterAway) -> ServerFault:
    """What ails Redis, or the database: without the gate that it keeps nobody may call."""
    # Most who tell of a job load no client of Redis.
    from worker.redis_faults import kind_of, redis_server_fault

    cause = away.__cause__
    if cause is None:
        return ServerFault(Server.REDIS, kind_of(away.fault or "timeout"))
    return database_fault(cause) or redis_server_fault(cause)
