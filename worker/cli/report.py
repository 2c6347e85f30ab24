"""What a check found, how a run stands and how it ended, in lines for people."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.cli.options import run_again
from worker.cli.terminal import ALL_DONE, SOME_FAILED, STOPPED, say, say_all, tell
from worker.domain.options import RunOptions
from worker.domain.rows import Problem, Warning_, Way, Ways
from worker.domain.states import Code, JobState, Outcome, PauseReason
from worker.domain.words import PAUSES, counted, in_words, listed, outcome_name
from worker.jobs.results import write_result_file
from worker.jobs.views import earlier_lines
from worker.settings import CyclrSettings
from worker.store.jobs import JobStatus
from worker.store.listing import ItemFilter, iter_items
from worker.store.session import Engine
from worker.store.tallies import FailureReason, OutcomeCount, list_failures, list_outcomes

if TYPE_CHECKING:
    from worker.bootstrap.place import Place
    from worker.cli.files import ResultPath
    from worker.jobs.checking import Checked

SHOWN_PROBLEMS = 1_000
SHOWN_WARNINGS = 1_000
SHOWN_USES = 12
WAYS: Ways = {
    Way.ACCOUNT_IDS_AS_WRITTEN: "or run with `--as-written account_id`",
    Way.VERSIONS_AS_WRITTEN: "or run with `--as-written connector_version`",
    Way.CONNECTOR_FOR_ALL: "or run with `--connector`",
    Way.COLUMNS: 'or say what a column is with `--map "COLUMN=account_id"`, once for each',
    Way.UNDECLARED: "or run with `--allow-undeclared`",
}
NOTHING_TO_DO = "Nothing to do: every row was done by an earlier job."
SHOWN_JOBS = 5
SHOWN_GROUPS = 20
WHILE_IT_LASTS = {
    JobState.LOADING: ("Its rows are being written. See how it goes, then {again}:", "status"),
    JobState.RUNNING: ("Let it end, then {again}:", "watch"),
    JobState.PAUSED: ("Let it go on to its end, then {again}:", "resume"),
}


def problem_lines(problems: Sequence[Problem], count: int) -> Iterator[str]:
    """The first 1,000 different problems, and how many there are of all rows."""
    shown = problems[:SHOWN_PROBLEMS]
    for problem in shown:
        yield f"  {problem.told(WAYS)}"
    told = sum(problem.count for problem in shown)
    more = f", of which these are the first {told:,}" if count > told else ""
    yield f"{counted(count, 'problem')}{more}."


def warning_lines(warnings: Sequence[Warning_], count: int) -> Iterator[str]:
    """The first 1,000 different warnings, and how many others there are of all rows."""
    shown = warnings[:SHOWN_WARNINGS]
    for warning in shown:
        yield f"  warning: {warning}"
    more = count - sum(warning.count for warning in shown)
    if more > 0:
        yield f"  and {counted(more, 'other warning')}"


def in_the_way_lines(jobs: Sequence[tuple[JobStatus, int]], *, others: int, again: str) -> Iterator[str]:
    """Unfinished jobs that have still to do rows of a file, and the ways on. `jobs`: with the number of these rows.

    `others`: rows of the file that can be installed now. `again`: as in "let it end, then ...".
    """
    for job, count in jobs[:SHOWN_JOBS]:
        are = "is" if count == 1 else "are"
        yield f"{counted(count, 'row')} of this file {are} still to be done by job {job.id} of {job.source_name},"
        yield f"{job.final:,} of {counted(job.total, 'row')} done, {job.state_in_words}."
        text, command = WHILE_IT_LASTS.get(job.state, WHILE_IT_LASTS[JobState.RUNNING])
        yield text.format(again=again)
        yield f"  cyclr-bulk {command} {job.id}"
        yield f"Or end it, then {again} (nothing is installed twice):"
        yield f"  cyclr-bulk cancel {job.id}"
    if others:
        yield f"Or add --skip-invalid to install only {'the other row' if others == 1 else f'the other {others:,} rows'}."


def found_lines(checked: "Checked") -> Iterator[str]:
    """What was understood of the file."""
    source, found = checked.source, checked.survey
    form = ", ".join(source.form.values())
    yield f"{source.path.name}: {counted(found.rows, 'row')} ({form})"
    left_out = [
        counted(count, *words)
        for count, *words in (
            (found.comments, "comment line left out", "comment lines left out"),
            (found.empty, "empty line left out", "empty lines left out"),
        )
        if count
    ]
    if left_out:
        yield f"  {', '.join(left_out)}"
    for label, uses in (
        ("connectors", checked.connectors),
        ("methods", checked.methods),
        ("properties", checked.properties),
    ):
        if uses:
            yield _labelled(label, _in_a_line(uses))
    new = checked.new_accounts
    if new.count:
        yield _labelled("accounts", f"{new.count:,} to be created first: {listed(new.first, new.count)}")


def _in_a_line(uses: Mapping[str, int]) -> str:
    ranked = sorted(uses.items(), key=lambda use: (-use[1], use[0]))
    return listed([f"{name} ({count:,})" for name, count in ranked[:SHOWN_USES]], len(ranked))


def estimate_lines(checked: "Checked") -> Iterator[str]:
    """The calls that a run takes, and how long; nothing where no row can be installed."""
    if not checked.planned:
        return
    estimate = checked.estimate
    duration = in_words(estimate.seconds)
    text = f"{estimate.calls:,} ({estimate.calls_in_words}); about {duration} at {checked.pace}"
    yield _labelled("calls", text)


def _labelled(label: str, text: str) -> str:
    return f"  {label + ':':<12}{text}"


def unfinished_lines(jobs: Iterable[JobStatus]) -> Iterator[str]:
    """Jobs that are not this command's business; their rows are in the way of the same rows in other files."""
    for job in jobs:
        yield f"Left alone: {job.named}, {job.state_in_words}."


def home_lines(settings: CyclrSettings) -> Iterator[str]:
    """Where this is done, if that is not plain: what was done in another home, or in a deployment, is not known here."""
    if settings.is_deployed:
        yield "DATABASE_URL is left aside: this command works on this machine. `cyclr-bulk submit` hands a file to the deployment."
    usual = CyclrSettings.model_fields["cyclr_bulk_home"].get_default(call_default_factory=True)
    if settings.cyclr_bulk_home != usual:
        yield f"Home folder: {settings.cyclr_bulk_home}"


def standing_lines(job: JobStatus, outcomes: Sequence[OutcomeCount] | None) -> Iterator[str]:
    """Where the job's rows are, in numbers; which fields were changed, and what its done rows wait for. `outcomes`: how they
    came to be done; None: that was not counted."""
    yield _counts(job, outcomes)
    changed: Counter[str] = Counter()
    for each in outcomes or ():
        changed.update(each.changed)
    if changed:
        yield _labelled("changed", _in_a_line(changed))
    if job.to_authorise:
        yield _labelled("waiting", f"{counted(job.to_authorise, 'row')} for the customer's authorisation")
    if job.without_credential:
        yield _labelled("credential", f"{counted(job.without_credential, 'row')} without one, as asked")


def _counts(job: JobStatus, outcomes: Sequence[OutcomeCount] | None) -> str:
    """`1,204 created, 310 filled in, 3,480 unchanged, 9 failed.`"""
    done = [(each.count, outcome_name(each.outcome)) for each in outcomes or ()]
    others = (
        (job.cancelled, "cancelled"),
        (job.refused, "refused at intake"),
        (job.skipped, "done by an earlier job"),
        (job.left, "not done yet"),
    )
    parts = [
        *(done or [(job.installed, "done")]),
        (job.failed, "failed"),
        *(each for each in others if each[0]),
    ]
    return ", ".join(f"{count:,} {what}" for count, what in parts) + "."


def failure_lines(groups: Sequence[FailureReason], failed: int, job_id: str) -> Iterator[str]:
    """`failed`: all failed rows of the job; those of no group that is shown are counted in the last line."""
    if not groups:
        return
    yield "Failed, by reason:"
    for group in groups[:SHOWN_GROUPS]:
        yield failure_line(group)
    rest = failed - sum(group.count for group in groups[:SHOWN_GROUPS])
    if rest > 0:
        yield f"  {rest:>7,}  for other reasons: cyclr-bulk failures {job_id}"
    yield from advice_lines({group.code: group.advice for group in groups[:SHOWN_GROUPS]})


def advice_lines(by_code: Mapping[str, str]) -> Iterator[str]:
    """What to do about failed rows, once for each code."""
    yield "What to do:"
    for code, advice in by_code.items():
        yield f"  {code}: {advice}"


def failure_line(group: FailureReason) -> str:
    """How many rows, the key of the reason, the code, what is the same in their messages."""
    others = group.count - 1
    rows = f"row {group.example_row}" + (f" and {others:,} more" if others else "")
    return f"  {group.count:>7,}  {group.reason}  {group.code}: {group.message} ({rows})"


def conclude_run(
    place: "Place",
    job: JobStatus,
    result_path: "ResultPath",
    *,
    options: RunOptions,
    how_to_go_on: str,
    how_to_retry: Sequence[str] | None = None,
) -> int:
    """Write the result file, say how the run ended; the exit code.

    `options`: what the file was handed in with. `how_to_go_on`: the command for a job that was stopped. `how_to_retry`: what to
    do about failed rows, in lines; None: the usual.
    """
    engine = place.database.engine
    # Written before anything is said: whoever reads what is said may have gone.
    path = _write_results(engine, job.id, _places(place, job.id, result_path))
    codes = {failure.code for failure in list_failures(engine, job.id)}
    usual = ["Some rows are not done."]
    if path is not None:
        usual = [*_how_to_try_again(job, codes, path, options), *ways_lines(codes, path, options)]
    return say_outcome(engine, job, path, how_to_go_on=how_to_go_on, how_to_retry=how_to_retry or usual)


def say_outcome(
    engine: Engine, job: JobStatus, path: Path | None, *, how_to_go_on: str, how_to_retry: Sequence[str]
) -> int:
    """Say how a job ended or where it stopped; the exit code. `path`: of its result file, where one was written."""
    say_all(earlier_lines(engine, job.done_by), tell)
    say_all(standing_lines(job, list_outcomes(engine, job.id)), tell)
    say_all(failure_lines(list_failures(engine, job.id), job.failed, job.id), tell)
    if path is not None:
        tell(f"Results, one line for every row: {path}")
    if job.state is JobState.COMPLETED:
        return _completed(engine, job, how_to_retry)
    if job.state is JobState.CANCELLED:
        say(f"Job {job.id} was cancelled.")
        return STOPPED
    _paused(job, how_to_go_on)
    return STOPPED


# What a rule left alone: mending a row changes nothing of that, only another option or command does.
_WAYS_ON: dict[str, tuple[str, dict[str, Any]]] = {
    Code.DIFFERS: ("To set the values of the rows over those that are there:", {"overwrite": True}),
    Code.PRESENT_UNDER_OTHER_NAME: (
        "To use the connector that is there, put its Name into the column name and run the result file; to install a second one"
        " beside it:",
        {"beside": True},
    ),
    Code.METHOD_UNKNOWN: (
        "If the method of the rows is the one that is in use there:",
        {"assume_method": True},
    ),
    Code.NOT_THERE: ("To install what is not there:", {"operation": "install", "replace_tokens": False}),
}


def ways_lines(
    codes: Collection[str], file: Path, options: RunOptions, *, is_deployed: bool = False
) -> Iterator[str]:
    """What to type for rows that a rule left alone, by their codes: whole commands. `file`: the result file of their job."""
    for code, (to_do, changes) in _WAYS_ON.items():
        if code in codes:
            again = replace(_of_results(options), **changes)
            yield to_do
            yield f"  {run_again(file, again, is_deployed=is_deployed)}"


def _of_results(options: RunOptions) -> RunOptions:
    """What a result file is handed in with: it is a CSV, and has the product's names for columns that a person has named."""
    return replace(options, skip_invalid=False, no_look=False, look_again=False, sheet=None, map=frozenset())


def is_left_alone(codes: Collection[str]) -> bool:
    """Whether nothing is to be mended in any of the failed rows."""
    return bool(codes) and set(codes) <= set(_WAYS_ON)


def _places(place: "Place", job_id: str, result_path: "ResultPath") -> tuple[Path, Path]:
    """Where the result file goes, and where it goes if it cannot go there."""
    home = place.settings.cyclr_bulk_home.expanduser()
    return result_path.for_job(job_id), home / f"{job_id}.results.csv"


def _write_results(engine: Engine, job_id: str, places: tuple[Path, Path]) -> Path | None:
    for path in places:
        try:
            write_result_file(engine, job_id, path, ways=WAYS)
        except OSError as error:
            say(f"The result file {path} could not be written: {error.strerror or error}.")
        else:
            return path
    say("Make room, then type the same again: what is done is found, and not done twice.")
    return None


def _completed(engine: Engine, job: JobStatus, how_to_retry: Sequence[str]) -> int:
    idle = _count_idle(engine, job)
    if idle:
        say(
            f"{counted(idle, 'row')} changed nothing, though {'it names' if idle == 1 else 'they name'} something else than is there:"
            " OAuth tokens, which are replaced with --replace-tokens only."
        )
    if job.failed or job.refused or job.cancelled:
        say_all(how_to_retry)
        return SOME_FAILED
    return SOME_FAILED if idle else ALL_DONE


def _count_idle(engine: Engine, job: JobStatus) -> int:
    """Rows of an update that are done and changed nothing that they meant to change. It reads those that are unchanged."""
    if job.operation != "update":
        return 0
    unchanged = iter_items(engine, job.id, ItemFilter(outcome=Outcome.UNCHANGED))
    return sum(bool(item.differs) for item in unchanged)


def _how_to_try_again(
    job: JobStatus, codes: Collection[str], path: Path, options: RunOptions
) -> Sequence[str]:
    if is_left_alone(codes) and not job.refused and not job.cancelled:
        return ()
    which = "the failed rows" if job.failed or job.cancelled else "the refused rows"
    fill = " (refused rows need their credentials filled in again)" if job.refused else ""
    again = run_again(path, _of_results(options))
    return (
        f"To try {which} again, mend what their messages name{fill} and run the result file:",
        f"  {again}",
    )


def _paused(job: JobStatus, how_to_go_on: str) -> None:
    reason = job.pause_reason or PauseReason.INTERRUPTED
    left = f"{counted(job.left, 'row')} {'is' if job.left == 1 else 'are'} left"
    say(f"Job {job.id} is paused: {PAUSES[reason].title}. {left}.")
    say(f"{PAUSES[reason].advice.removesuffix('.')}:")
    say(f"  {how_to_go_on}")
