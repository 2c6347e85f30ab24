"""What a check found, and how a run ended, in words."""

from collections.abc import Iterable, Mapping

import typer

from worker.cli.exits import say
from worker.domain.rows import Problem, Warning_
from worker.jobs import Checked
from worker.store.jobs import FailureGroup, JobStatus

SHOWN_WARNINGS = 20
SHOWN_USES = 12


def say_problems(problems: Iterable[Problem], count: int) -> None:
    """All problems that were kept, and how many there are."""
    shown = list(problems)
    for problem in shown:
        say(f"  {problem}")
    more = f", of which these are the first {len(shown):,}" if count > len(shown) else ""
    say(f"{count:,} {'problem' if count == 1 else 'problems'}{more}.")


def say_warnings(warnings: list[Warning_]) -> None:
    for warning in warnings[:SHOWN_WARNINGS]:
        say(f"  warning: {warning}")
    if len(warnings) > SHOWN_WARNINGS:
        say(f"  and {len(warnings) - SHOWN_WARNINGS:,} other kinds of warnings")


def show_found(checked: Checked) -> None:
    """What was understood of the file."""
    source, found = checked.source, checked.survey
    skipped = [
        f"{count:,} {what}"
        for count, what in (
            (found.comments, "comment lines left out"),
            (found.empty, "empty lines left out"),
            (checked.skipped, "installed already and left out"),
        )
        if count
    ]
    delimiter = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}.get(
        source.delimiter, source.delimiter
    )
    typer.echo(f"{source.path.name}: {found.rows:,} rows ({source.encoding}, {delimiter})")
    if skipped:
        typer.echo(f"  {', '.join(skipped)}")
    for label, uses in (
        ("connectors", checked.connectors),
        ("methods", checked.methods),
        ("properties", checked.properties),
    ):
        if uses:
            typer.echo(f"  {label + ':':<12}{_in_a_line(uses)}")
    if checked.estimate.new_accounts:
        typer.echo(f"  {'accounts:':<12}{checked.estimate.new_accounts:,} to be created first")


def _in_a_line(uses: Mapping[str, int]) -> str:
    ranked = sorted(uses.items(), key=lambda use: (-use[1], use[0]))
    text = ", ".join(f"{name} ({count:,})" for name, count in ranked[:SHOWN_USES])
    more = len(ranked) - SHOWN_USES
    return f"{text} and {more} more" if more > 0 else text


def show_estimate(checked: Checked, calls_per_second: float) -> None:
    estimate = checked.estimate
    parts = [f"{estimate.installs:,} installs"]
    if estimate.looks:
        parts.append(f"{estimate.looks:,} looks before them")
    if estimate.new_accounts:
        parts.append(f"{estimate.new_accounts:,} new accounts")
    duration = in_words(estimate.duration_s(calls_per_second))
    typer.echo(
        f"  {'calls:':<12}{estimate.calls:,} ({', '.join(parts)}); about {duration} at {calls_per_second:g} calls/s"
    )


def in_words(seconds: float) -> str:
    """A duration for people: `8 s`, `2 min 5 s`, `3 h 20 min`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(whole // 60, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def show_failures(groups: list[FailureGroup]) -> None:
    """Failures by reason, the largest group first."""
    if not groups:
        return
    typer.echo("Failed, by reason:")
    for group in groups:
        rows = f"row {group.example_row}" if group.count == 1 else f"row {group.example_row} and others"
        typer.echo(f"  {group.count:>7,}  {group.code}: {group.message} ({rows})")


def show_counts(job: JobStatus, waiting: int) -> None:
    parts = [f"{job.installed:,} installed"]
    if waiting:
        parts[0] += f" ({waiting:,} of them wait for the customer's authorisation)"
    parts.append(f"{job.failed:,} failed")
    for count, what in (
        (job.cancelled, "cancelled"),
        (job.refused, "refused at intake"),
        (job.skipped, "installed before"),
        (job.left, "not done yet"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    typer.echo(", ".join(parts) + ".")
