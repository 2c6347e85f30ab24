"""What can be typed about jobs: of a deployment where DATABASE_URL is set, else of the home.

Each command is a few lines: the work is in the module it imports.
"""

# In the texts below \b keeps the lines of a paragraph as they are.

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.arguments import (
    AsWrittenOption,
    ConnectorOption,
    FileArgument,
    FirstOption,
    IfPresentOption,
    JobArgument,
    JsonOption,
    LookFirstOption,
    SkipInvalidOption,
    YesOption,
)
from worker.domain.options import IfPresent
from worker.domain.states import Code, ItemState

app = typer.Typer()

WRONG_STATE = """

\b
Exit codes:
  0  done
  2  not in this state, or no such job: nothing was changed"""

SUBMIT_EXAMPLES = """\b
Examples:
  cyclr-bulk submit accounts.csv
  cyclr-bulk submit accounts.csv --as-written account_id
  JOB=$(cyclr-bulk submit accounts.csv --yes) && cyclr-bulk watch $JOB

\b
Exit codes:
  0  submitted, now or before; its id is on stdout
  2  the file, a setting or the usage is wrong: nothing was submitted
  3  declined"""

WATCH_EXAMPLES = """\b
Example:
  cyclr-bulk watch 261121-k3x9qd

\b
Exit codes:
  0  all rows are installed; some may wait for the customer's authorisation
  1  some rows failed or were refused
  2  no such job, or a setting is wrong
  3  paused or cancelled, or you stopped watching"""

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

PAUSE_EXAMPLES = f"""\b
Example:
  cyclr-bulk pause 261121-k3x9qd{WRONG_STATE}"""

RESUME_EXAMPLES = f"""\b
Examples:
  cyclr-bulk resume 261121-k3x9qd
  cyclr-bulk resume 261121-k3x9qd --first 100{WRONG_STATE}"""

CANCEL_EXAMPLES = f"""\b
Example:
  cyclr-bulk cancel 261121-k3x9qd{WRONG_STATE}"""

RETRY_EXAMPLES = f"""\b
Examples:
  cyclr-bulk retry 261121-k3x9qd
  cyclr-bulk retry 261121-k3x9qd --reason 3f9a0c12
  cyclr-bulk retry 261121-k3x9qd --code unreachable --code no_answer{WRONG_STATE}"""

FORGET_EXAMPLES = f"""\b
Example:
  cyclr-bulk forget 261121-k3x9qd{WRONG_STATE}"""

KEY_EXAMPLES = """\b
Example:
  cyclr-bulk new-sealing-key"""

RESEAL_EXAMPLES = """\b
Example:
  cyclr-bulk reseal

\b
Exit codes:
  0  all that is kept is sealed with the first key; the others may go
  1  some rows cannot be opened with any key
  2  a setting is wrong: nothing was changed"""

DISTRUST_EXAMPLES = """\b
Example:
  cyclr-bulk distrust"""

SWEEP_EXAMPLES = """\b
Example:
  cyclr-bulk sweep"""

HEALTHY_EXAMPLES = """\b
Example:
  cyclr-bulk healthy

\b
Exit codes:
  0  a worker of this machine was seen lately, or the database cannot be asked
  1  none was seen
  2  a setting is wrong"""

CodesOption = Annotated[
    list[Code] | None,
    typer.Option("--code", metavar="CODE", help="Only rows with this code; may be repeated."),
]

LinesOption = Annotated[bool, typer.Option("--json", help="A JSON object on each line, for programs.")]
ReasonOption = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Only rows that failed for this reason; `failures` and `status` name its key.",
        show_default=False,
    ),
]


@app.command(short_help="Hand a file to the workers of a deployment.", epilog=SUBMIT_EXAMPLES)
def submit(
    file: FileArgument,
    connector: ConnectorOption = None,
    first: FirstOption = None,
    skip_invalid: SkipInvalidOption = False,
    look_first: LookFirstOption = False,
    if_present: IfPresentOption = IfPresent.INSTALL,
    as_written: AsWrittenOption = None,
    yes: YesOption = False,
) -> None:
    """Check FILE, ask, and hand it to the workers of the deployment that DATABASE_URL and REDIS_URL name.

    The job's id is printed on stdout, all else on stderr. The same file submitted again is the same job until it ends.
    """
    from worker.cli.submit import submit_command
    from worker.jobs.options import RunOptions

    options = RunOptions(
        connector=connector,
        skip_invalid=skip_invalid,
        look_first=look_first,
        if_present=if_present,
        first=first,
        as_written=frozenset(as_written or ()),
    )
    submit_command(file, options, is_sure=yes)


@app.command(short_help="See how a job goes, until it ends.", epilog=WATCH_EXAMPLES)
def watch(job: JobArgument) -> None:
    """Show the progress of JOB until it ends or pauses. Ctrl-C stops the watching, not the job."""
    from worker.cli.watch import watch_command

    watch_command(job)


@app.command(short_help="List the unfinished jobs, and the last 20.", epilog=JOBS_EXAMPLES)
def jobs(as_json: JsonOption = False) -> None:
    """List the unfinished jobs, then the last 20 that have ended."""
    from worker.cli.showing import jobs_command

    jobs_command(as_json=as_json)


@app.command(short_help="Say how a job stands.", epilog=STATUS_EXAMPLES)
def status(job: JobArgument, as_json: JsonOption = False) -> None:
    """Say how JOB stands: counters, pace, what holds the calls back, why it is paused, failures by reason, what its check warned of."""
    from worker.cli.showing import status_command

    status_command(job, as_json=as_json)


@app.command(short_help="List a job's rows.", epilog=ITEMS_EXAMPLES)
def items(
    job: JobArgument,
    state: Annotated[ItemState | None, typer.Option(help="Only rows in this state.")] = None,
    code: CodesOption = None,
    account: Annotated[
        str | None, typer.Option(metavar="ID", help="Only rows of this account.", show_default=False)
    ] = None,
    reason: ReasonOption = None,
    as_json: LinesOption = False,
) -> None:
    """List the rows of JOB, in the order of the file."""
    from worker.cli.showing import items_command

    items_command(job, state=state, codes=code or (), account_id=account, reason=reason, as_json=as_json)


@app.command(short_help="Say why rows failed.", epilog=FAILURES_EXAMPLES)
def failures(job: JobArgument, as_json: LinesOption = False) -> None:
    """List all reasons for which rows of JOB failed, the most frequent first: how many, the key of the reason, its message."""
    from worker.cli.showing import failures_command

    failures_command(job, as_json=as_json)


@app.command(short_help="Write a job's result file.", epilog=RESULTS_EXAMPLES)
def results(
    job: JobArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where it goes. An earlier result file there is replaced.",
            show_default=False,
        ),
    ],
    reason: ReasonOption = None,
) -> None:
    """Write the result file of JOB as it stands now: one line for every row of its file, or for those of one reason."""
    from worker.cli.showing import results_command

    results_command(job, out, reason=reason)


@app.command(short_help="Let a job rest.", epilog=PAUSE_EXAMPLES)
def pause(job: JobArgument) -> None:
    """Let JOB rest: calls in flight are waited for, no new one starts."""
    from worker.cli.steer import pause_command

    pause_command(job)


@app.command(short_help="Let a paused job go on.", epilog=RESUME_EXAMPLES)
def resume(
    job: JobArgument,
    first: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Of the rows that --first holds back, let N go.", show_default=False
        ),
    ] = None,
) -> None:
    """Let a paused JOB go on. In a deployment its workers see to it; in a home this command brings workers and stays."""
    from worker.cli.steer import resume_command

    resume_command(job, first=first)


@app.command(short_help="End a job for good.", epilog=CANCEL_EXAMPLES)
def cancel(job: JobArgument) -> None:
    """End JOB: rows that were not sent are cancelled, those in flight are settled. What is installed stays in Cyclr."""
    from worker.cli.steer import cancel_command

    cancel_command(job)


@app.command(short_help="Try a job's failed rows again.", epilog=RETRY_EXAMPLES)
def retry(job: JobArgument, code: CodesOption = None, reason: ReasonOption = None) -> None:
    """Try the failed and cancelled rows of JOB again, or the failed ones with these codes or of one reason.

    Each account is looked into first. Rows whose credentials are no longer kept are left out.
    """
    from worker.cli.steer import retry_command

    retry_command(job, code or (), reason=reason)


@app.command(short_help="Delete all data of a job that has ended.", epilog=FORGET_EXAMPLES)
def forget(job: JobArgument, yes: YesOption = False) -> None:
    """Delete all data of a JOB that has ended. What it installed stays in Cyclr; a later file looks for it first."""
    from worker.cli.steer import forget_command

    forget_command(job, is_sure=yes)


@app.command(short_help="Make a key for CYCLR_BULK_SEALING_KEYS.", epilog=KEY_EXAMPLES)
def new_sealing_key() -> None:
    """Print a new key for CYCLR_BULK_SEALING_KEYS. It is a secret, and stored nowhere."""
    from worker.cli.upkeep import new_sealing_key_command

    new_sealing_key_command()


@app.command(short_help="Seal all credentials with the first key.", epilog=RESEAL_EXAMPLES)
def reseal() -> None:
    """Seal all credentials that are kept with the first key of CYCLR_BULK_SEALING_KEYS. Workers may go on."""
    from worker.cli.upkeep import reseal_command

    reseal_command()


@app.command(short_help="Look before every unfinished row.", epilog=DISTRUST_EXAMPLES)
def distrust() -> None:
    """Have every unfinished row looked for in Cyclr before anything is sent.

    For after a failover or a restored backup that may have lost commits. Stop the workers first.
    """
    from worker.cli.upkeep import distrust_command

    distrust_command()


@app.command(short_help="Run a deployment's sweep until it is stopped.", epilog=SWEEP_EXAMPLES)
def sweep() -> None:
    """Every two seconds: take back what lost workers held, ring for what is due, finish jobs. Two may run at once."""
    from worker.cli.sweep import sweep_command

    sweep_command()


@app.command(short_help="Say whether a deployment's worker on this machine lives.", epilog=HEALTHY_EXAMPLES)
def healthy() -> None:
    """Say whether a worker of this machine was seen lately: for whoever restarts what hangs.

    A database that is away is no reason to restart a worker, and says nothing about it.
    """
    from worker.cli.healthy import healthy_command

    healthy_command()
