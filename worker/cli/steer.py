"""`cyclr-bulk pause`, `resume`, `cancel`, `retry` and `forget`: what a person may ask of a job.

In a deployment its workers see to what follows. In a home, `resume` and `retry` bring workers and see the job through.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Annotated

import typer

from worker.bootstrap.place import Place
from worker.cli.options import CodesOption, JobArgument, ReasonOption, YesOption
from worker.cli.place import (
    NotInThisState,
    OtherInstance,
    UnknownJob,
    opened_place,
    require_job,
    require_reason,
)
from worker.cli.terminal import (
    NOTHING_CHANGED,
    NOTHING_DONE,
    STOPPED,
    agrees,
    can_ask,
    failures_in_words,
    say,
    say_all,
)
from worker.cli.watching import say_end, see_through
from worker.domain import words
from worker.domain.states import Code, JobState, PauseReason
from worker.settings import load_settings
from worker.store.faults import DatabaseAway, lost_database_in_words
from worker.store.job_states import cancel_job, pause_job, resume_job
from worker.store.jobs import JobStatus, read_in_hand
from worker.store.listing import find_job
from worker.store.session import Engine
from worker.store.steering import Retried, WrongState, forget_job, retry_job
from worker.sweeping import SweepRules, sweep

app = typer.Typer(rich_markup_mode=None)
EXIT_CODES = """

\b
Exit codes:
  0  done
  2  not in this state, or no such job: nothing was changed"""
PAUSE_EXAMPLES = f"""\b
Example:
  cyclr-bulk pause 261121-k3x9qd{EXIT_CODES}"""
RESUME_EXAMPLES = f"""\b
Examples:
  cyclr-bulk resume 261121-k3x9qd
  cyclr-bulk resume 261121-k3x9qd --first 100{EXIT_CODES}"""
CANCEL_EXAMPLES = f"""\b
Example:
  cyclr-bulk cancel 261121-k3x9qd{EXIT_CODES}"""
RETRY_EXAMPLES = f"""\b
Examples:
  cyclr-bulk retry 261121-k3x9qd
  cyclr-bulk retry 261121-k3x9qd --reason 3f9a0c12
  cyclr-bulk retry 261121-k3x9qd --code unreachable --code no_answer{EXIT_CODES}"""
FORGET_EXAMPLES = f"""\b
Example:
  cyclr-bulk forget 261121-k3x9qd{EXIT_CODES}"""


@app.command("pause", epilog=PAUSE_EXAMPLES)
def pause_command(job_id: JobArgument) -> None:
    """Let JOB rest: calls in flight are waited for, no new one starts."""
    with failures_in_words(), opened_place() as place:
        engine = place.database.engine
        job = require_job(place, job_id)
        if not pause_job(engine, job_id, PauseReason.PERSON):
            raise NotInThisState(require_job(place, job_id), "paused")
        say(f"Paused: {job.named}.")
        with _shown_if_it_can_be(engine):
            if in_hand := read_in_hand(engine, job_id).count:
                say(words.pausing(in_hand))
        say(f"It goes on with `cyclr-bulk resume {job_id}`.")


@app.command("resume", epilog=RESUME_EXAMPLES)
def resume_command(
    job_id: JobArgument,
    first: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Of the rows that --first holds back, let N go.", show_default=False
        ),
    ] = None,
) -> None:
    """Let a paused JOB go on. In a deployment its workers see to it; in a home this command brings workers and stays."""
    with failures_in_words(), opened_place() as place:
        job = require_job(place, job_id)
        if place.home is None:
            _resume(place.database.engine, job_id, first)
            place.ring()
            say(f"Resumed: {job.named}. Watch it with `cyclr-bulk watch {job_id}`.")
            return
    _see_through_here(job, lambda engine: _resume(engine, job_id, first))


@app.command("cancel", epilog=CANCEL_EXAMPLES)
def cancel_command(job_id: JobArgument) -> None:
    """End JOB: rows that were not sent are cancelled, those in flight are settled. What is installed stays in Cyclr."""
    with failures_in_words(), opened_place() as place:
        require_job(place, job_id)
        if not cancel_job(place.database.engine, job_id):
            raise NotInThisState(require_job(place, job_id), "cancelled")
        with _shown_if_it_can_be(place.database.engine, f"Cancelled: job {job_id}."):
            if place.home is not None:
                _finish_cancelling(place, job_id)
            job = require_job(place, job_id)
            say(f"Cancelled: {job.named}.")
            if job.finished_at is None:
                say(words.cancelling(job.left))
        say(f"What is installed stays. The results: cyclr-bulk results {job_id} -o FILE")


@contextmanager
def _shown_if_it_can_be(engine: Engine, done: str = "") -> Iterator[None]:
    """What was asked for is `done`, though the database cannot be asked any more how the job stands."""
    try:
        with lost_database_in_words(engine):
            yield
    except DatabaseAway as error:
        if done:
            say(done)
        say(f"How it stands cannot be told now: {error}")


@app.command("retry", epilog=RETRY_EXAMPLES)
def retry_command(job_id: JobArgument, code: CodesOption = None, reason: ReasonOption = None) -> None:
    """Try the failed and cancelled rows of JOB again, or the failed ones with these codes or of one reason.

    Each account is looked into first. Rows whose credentials are no longer kept are left out.
    """
    codes = code or ()
    with failures_in_words(), opened_place() as place:
        job = require_job(place, job_id)
        require_reason(place, job_id, reason)
        if place.home is None:
            with _wrong_state_in_words(place.database.engine, "retried"):
                retried = retry_job(place.database.engine, job_id, codes=codes, reason=reason)
            place.ring()
            _say_retried(retried, require_job(place, job_id))
            say(f"Watch it with `cyclr-bulk watch {job_id}`.")
            return
    _see_through_here(job, lambda engine: _retry(engine, job_id, codes, reason))


@app.command("forget", epilog=FORGET_EXAMPLES)
def forget_command(job_id: JobArgument, yes: YesOption = False) -> None:
    """Delete all data of a JOB that has ended. What it installed stays in Cyclr; a later file looks for it first."""
    with failures_in_words(), opened_place() as place:
        job = require_job(place, job_id)
        question = (
            f"Forget {job.named}? Its rows, results and kept credentials are deleted here; what it installed"
            " stays in Cyclr. Only a hash of each account and name is kept, so that a later file looks first."
        )
        _require_consent(question, is_sure=yes)
        with _wrong_state_in_words(place.database.engine, "forgotten"):
            forget_job(place.database.engine, job_id)
        say(f"Forgotten: job {job_id}.")


def _require_consent(question: str, *, is_sure: bool) -> None:
    if is_sure:
        return
    if not can_ask():
        say("There is no terminal to ask on: add --yes to forget it without a question.")
        say(NOTHING_CHANGED)
        raise typer.Exit(NOTHING_DONE)
    if not agrees(question):
        say(f"Declined. {NOTHING_CHANGED}")
        raise typer.Exit(STOPPED)


def _resume(engine: Engine, job_id: str, first: int | None) -> None:
    if not resume_job(engine, job_id, first=first):
        raise _refusal(engine, job_id, "resumed")


def _retry(engine: Engine, job_id: str, codes: Sequence[Code], reason: str | None) -> None:
    with _wrong_state_in_words(engine, "retried"):
        retried = retry_job(engine, job_id, codes=codes, reason=reason)
    job = find_job(engine, job_id)
    if job is None:
        raise UnknownJob(job_id)
    _say_retried(retried, job)


def _say_retried(retried: Retried, job: JobStatus) -> None:
    """What was queued and what was not. Raises: typer.Exit where nothing was."""
    say_all(words.retried(retried.queued, retried.wiped, retried.live))
    if retried.wiped:
        say(f"The result file: cyclr-bulk results {job.id} -o FILE")
    if not retried.queued:
        say(NOTHING_CHANGED)
        raise typer.Exit(NOTHING_DONE)
    if job.state is JobState.PAUSED:
        say(f"Job {job.id} is paused. It goes on with `cyclr-bulk resume {job.id}`.")
        raise typer.Exit


def _see_through_here(job: JobStatus, change: Callable[[Engine], None]) -> None:
    """Change the job of a home with the home's workers at hand, and stay until it ends."""
    from worker.cli.home import TendedHome

    with ExitStack() as stack:
        with failures_in_words():
            settings = load_settings(needs_cyclr=True)  # what is doubtful about them was said above
            home = stack.enter_context(TendedHome(settings, needs_workers=True))
            engine = home.database.engine
            if job.instance_id != home.database.instance_id:
                raise OtherInstance(job)
            stack.enter_context(home.watch(job.id))
            change(engine)
            home.ring()
        ended = see_through(home, job.id)
        with failures_in_words(nothing_done=f"Job {job.id} is kept."):
            code = say_end(home, ended)
    raise typer.Exit(code)


def _finish_cancelling(place: Place, job_id: str) -> None:
    """What the sweep of a deployment does: cancel the rows that were surely not sent."""
    rules = SweepRules.of(place.settings)
    left = -1
    while (job := require_job(place, job_id)).left != left and job.finished_at is None:
        left = job.left
        sweep(place.database.engine, place.database.instance_id, rules, lambda: None)


@contextmanager
def _wrong_state_in_words(engine: Engine, deed: str) -> Iterator[None]:
    try:
        yield
    except WrongState as error:
        raise _refusal(engine, error.job_id, deed) from None


def _refusal(engine: Engine, job_id: str, deed: str) -> NotInThisState | UnknownJob:
    job = find_job(engine, job_id)
    return UnknownJob(job_id) if job is None else NotInThisState(job, deed)
