"""`cyclr-bulk jobs`, `status`, `items`, `failures` and `results`: what there is and how it stands, for people and for programs."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from worker.bootstrap.place import Place
from worker.cli.files import require_result_path
from worker.cli.options import CodesOption, JobArgument, JsonOption, ReasonOption
from worker.cli.place import opened_place, require_job, require_reason
from worker.cli.report import WAYS, advice_lines, failure_line, failure_lines, standing_lines
from worker.cli.terminal import failures_in_words, require_whole_output, say, say_all, tell, tell_json
from worker.clock import Clock
from worker.domain.pace import LimiterState, nobody_calls
from worker.domain.rows import Warning_
from worker.domain.server_faults import ServerFault
from worker.domain.states import ItemState, Outcome
from worker.domain.words import DONE, counted, in_words, rate, with_advice
from worker.intake.columns import find_position
from worker.jobs.results import write_result_file
from worker.jobs.views import JobInFull, earlier_lines, view_job, view_job_in_full
from worker.store.jobs import JobStatus, list_warnings
from worker.store.listing import Item, ItemFilter, iter_items, list_jobs
from worker.store.session import Engine
from worker.store.tallies import FailureCursor, FailureReason, list_failures

LAST_ENDED = 20
SHOWN_WARNINGS = 20
JOBS_EXAMPLES = """\b
Examples:
  cyclr-bulk jobs
  cyclr-bulk jobs --json"""
STATUS_EXAMPLES = """\b
Examples:
  cyclr-bulk status 261121-k3x9qd
  cyclr-bulk status 261121-k3x9qd --json"""
ITEMS_EXAMPLES = """\b
Examples:
  cyclr-bulk items 261121-k3x9qd --state failed
  cyclr-bulk items 261121-k3x9qd --reason 3f9a0c12
  cyclr-bulk items 261121-k3x9qd --outcome filled_in
  cyclr-bulk items 261121-k3x9qd --code refused --json
  cyclr-bulk items 261121-k3x9qd --account acme"""
FAILURES_EXAMPLES = """\b
Examples:
  cyclr-bulk failures 261121-k3x9qd
  cyclr-bulk failures 261121-k3x9qd --json"""
RESULTS_EXAMPLES = """\b
Examples:
  cyclr-bulk results 261121-k3x9qd -o accounts.results.csv
  cyclr-bulk results 261121-k3x9qd --reason 3f9a0c12 -o suspended.csv"""

app = typer.Typer(rich_markup_mode=None)
# As people call it -> as it is stored.
STATES = {DONE if state is ItemState.INSTALLED else str(state): state for state in ItemState}


def known_state(state: str | None) -> str | None:
    """The state as people call it, also where it is typed as it is stored. Raises: BadParameter."""
    shown = DONE if state == ItemState.INSTALLED else state
    if shown is not None and shown not in STATES:
        raise typer.BadParameter(f"{state!r} is not one of {', '.join(map(repr, STATES))}.")
    return shown


LinesOption = Annotated[bool, typer.Option("--json", help="A JSON object on each line, for programs.")]


@app.command("jobs", epilog=JOBS_EXAMPLES)
def jobs_command(as_json: JsonOption = False) -> None:
    """List the unfinished jobs, then the last 20 that have ended."""
    with failures_in_words(), opened_place(only_shows=True) as place:
        engine, now = place.database.engine, Clock().now()
        jobs = list_jobs(engine, ended=LAST_ENDED)
        if as_json:
            tell_json([view_job(engine, job, now).model_dump(mode="json") for job in jobs], indent=2)
            require_whole_output()
            return
        say_all((_job_line(job) for job in jobs), tell)
        require_whole_output()
        if not jobs:
            say("There are no jobs here yet.")


@app.command("status", epilog=STATUS_EXAMPLES)
def status_command(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Say how JOB stands: counters, pace, what holds the calls back, why it is paused, failures by reason, what its check warned of."""
    with failures_in_words(), opened_place(only_shows=True) as place:
        engine = place.database.engine
        job = require_job(place, job_id)
        limiter = asyncio.run(place.look_at_limiter(job.instance_id))
        shown = view_job_in_full(engine, job, Clock().now(), limiter)
        if as_json:
            tell_json(shown.model_dump(mode="json", by_alias=True), indent=2)
        else:
            say_all(_status_lines(engine, job, shown, limiter), tell)
            say_all(_warning_lines(job, list_warnings(engine, job_id)), tell)
        require_whole_output()


@app.command("items", epilog=ITEMS_EXAMPLES)
def items_command(
    job_id: JobArgument,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            help=f"Only rows in this state: {', '.join(STATES)}.",
            callback=known_state,
            show_default=False,
        ),
    ] = None,
    outcome: Annotated[
        Outcome | None, typer.Option(help="Only rows that came to be done in this way.")
    ] = None,
    code: CodesOption = None,
    account: Annotated[
        str | None, typer.Option(metavar="ID", help="Only rows of this account.", show_default=False)
    ] = None,
    reason: ReasonOption = None,
    as_json: LinesOption = False,
) -> None:
    """List the rows of JOB, in the order of the file."""
    with failures_in_words(), opened_place(only_shows=True) as place:
        job = require_job(place, job_id)
        require_reason(place, job_id, reason)
        found = 0
        wanted = ItemFilter(
            state=STATES[state] if state else None,
            outcome=outcome,
            codes=code or (),
            account_id=account,
            reason=reason,
        )
        reference_at = find_position(job.columns, "reference")
        for item in iter_items(place.database.engine, job_id, wanted, reference_at=reference_at):
            found += 1
            if as_json:
                tell_json(item.model_dump(mode="json"))
            else:
                tell(_item_line(item))
        require_whole_output()
        say(f"{counted(found, 'item')}.")


@app.command("failures", epilog=FAILURES_EXAMPLES)
def failures_command(job_id: JobArgument, as_json: LinesOption = False) -> None:
    """List all reasons for which rows of JOB failed, the most frequent first: how many, the key of the reason, its message."""
    with failures_in_words(), opened_place(only_shows=True) as place:
        job = require_job(place, job_id)
        advice: dict[str, str] = {}
        for group in _iter_failures(place, job_id):
            advice[group.code] = group.advice
            if as_json:
                tell_json(asdict(group))
            else:
                tell(failure_line(group))
        if advice and not as_json:
            say_all(advice_lines(advice), tell)
        say(f"{counted(job.failed, 'failed row')}.")


def _iter_failures(place: Place, job_id: str) -> Iterator[FailureReason]:
    after = None
    while groups := list_failures(place.database.engine, job_id, after=after):
        yield from groups
        after = FailureCursor.of(groups[-1])


@app.command("results", epilog=RESULTS_EXAMPLES)
def results_command(
    job_id: JobArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where it goes; a workbook where it ends in .xlsx. An earlier result file there is replaced.",
            show_default=False,
        ),
    ],
    reason: ReasonOption = None,
) -> None:
    """Write the result file of JOB as it stands now: one line for every row of its file, or for those of one reason."""
    with (
        failures_in_words(nothing_done="No result file was written."),
        opened_place(only_shows=True) as place,
    ):
        require_job(place, job_id)
        require_reason(place, job_id, reason)
        require_result_path(out)
        count = write_result_file(place.database.engine, job_id, out, reason=reason, ways=WAYS)
    tell(f"{counted(count, 'row')} written to {out}")


def _job_line(job: JobStatus) -> str:
    parts = [job.done_in_words]
    parts += [f"{job.failed:,} failed"] if job.failed else []
    day = f"{job.created_at.astimezone(UTC):%Y-%m-%d %H:%M}"
    return f"{job.id}  {day}  {job.source_name}  {job.state_in_words}, {', '.join(parts)}"


def _status_lines(
    engine: Engine, job: JobStatus, shown: JobInFull, limiter: LimiterState | ServerFault | None
) -> Iterator[str]:
    yield f"Job {job.id} of {job.source_name} at {job.api_host}: {job.state_in_words}"
    for line in [*earlier_lines(engine, job.done_by), *standing_lines(job, shown.outcomes)]:
        yield f"  {line}"
    if job.pause_advice:
        yield f"  to do:     {job.pause_advice}"
    if job.left:
        held = f", {job.held:,} held back by --first" if job.held else ""
        yield f"  left:      {shown.in_hand:,} in hand of a worker, {job.retrying:,} tried and to be tried again{held}"
    ended = "" if job.finished_at is None else f", ended: {_moment(job.finished_at)}"
    yield f"  begun:     {_moment(job.started_at)}{ended}"
    if pace := _pace_line(shown):
        yield f"  pace:      {pace}"
    for fault in shown.server_faults:
        if fault.server == "database":
            yield f"  database:  {fault.message}, so nothing is claimed or written"
    if limiter is not None:
        yield f"  calls:     {_limiter_line(limiter)}"
    yield from failure_lines(shown.failures, job.failed, job.id)


def _pace_line(shown: JobInFull) -> str:
    if not shown.rows_per_second:
        return ""
    rows = f"{rate(shown.rows_per_second)} rows/s"
    if shown.finished_at is not None:
        return f"{rows}, in {in_words(shown.seconds_worked)} of work"
    left = "" if shown.seconds_left is None else f", about {in_words(shown.seconds_left)} left"
    return f"{rows} in the last half minute{left}"


def _warning_lines(job: JobStatus, warnings: Sequence[Warning_]) -> Iterator[str]:
    if not warnings:
        return
    yield f"{counted(job.warning_count, 'warning')} of its check:"
    for warning in warnings[:SHOWN_WARNINGS]:
        yield f"  {warning}"
    if len(warnings) > SHOWN_WARNINGS:
        yield f"  and others: `cyclr-bulk status {job.id} --json` has the first {len(warnings)}"


def _limiter_line(state: LimiterState | ServerFault) -> str:
    if isinstance(state, ServerFault):
        return nobody_calls(state)
    return state.holds_back or f"at most {state.pace}"


def _item_line(item: Item) -> str:
    how = item.outcome or item.code or ""
    parts = [
        f"row {item.row}",
        item.account_id,
        item.name,
        DONE if item.state is ItemState.INSTALLED else item.state,
        how,
        with_advice(item.state, item.code, item.message),
    ]
    return "  ".join(part for part in parts if part)


def _moment(at: datetime | None) -> str:
    return "not yet" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
