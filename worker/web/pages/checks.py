"""What a check of a file says to the person who dropped it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from worker.domain.rows import AUTH_COLUMNS, NOT_EXPORTED, PROPERTY_PREFIX, Problem, Warning_, Way, Ways
from worker.domain.words import counted, in_words, listed, sentence
from worker.intake import Unreadable
from worker.intake.columns import INPUT_COLUMNS, RESULT_COLUMNS, Header, canonical, find_similar, is_known
from worker.intake.findings import Rejected
from worker.intake.rows import read_row
from worker.jobs.checking import Checked
from worker.store.jobs import JobStatus
from worker.web.pages.rendering import Notice

SHOWN_ROWS = 5
SHOWN_PROBLEMS = 200
SHOWN_USES = 12
SHOWN_JOBS = 5

MEANINGS = {
    "account_id": "the account",
    "connector": "the connector",
    "connector_version": "its version",
    "name": "the name in the account",
    "description": "the description",
    "authentication": "the method",
    "account_name": "creates the account",
    "account_description": "of a new account",
    "account_timezone": "of a new account",
    "reference": "your own key",
}

# By the words of the page's own ticks and fields, which stand above the problems.
WAYS: Ways = {
    Way.ACCOUNT_IDS_AS_WRITTEN: "or tick “Take account ids as they are written” above",
    Way.VERSIONS_AS_WRITTEN: "or tick “Take connector versions as they are written” above",
    Way.CONNECTOR_FOR_ALL: "or name one connector for all rows above",
    Way.COLUMNS: "or choose below what each column is",
    Way.UNDECLARED: "or tick “Allow undeclared” above",
}

AS_WRITTEN = {"account_id": "account ids", "connector_version": "connector versions"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the file, and what it is taken for. `kind`: for the style sheet. `menu`: what else it may be taken for, each as
    the form says it and as it is shown, and whether it is chosen."""

    typed: str
    meaning: str
    kind: str = ""
    menu: Sequence[tuple[str, str, bool]] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """How the check of a file stands, or what it found. `activity`: what it does just now.

    `first_rows`: each with its number and its cells; None: a cell that is kept secret.
    `has_options`: whether other options may make another check. `doubted`: columns with values that are refused unless they are
    taken as written. `overwrites`: values, at most.
    """

    is_running: bool = False
    has_options: bool = True
    activity: str = ""
    verdict: Notice | None = None
    problems: Sequence[Problem | Warning_] = ()
    problem_count: int = 0
    warnings: Sequence[Warning_] = ()
    earlier: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    columns: Sequence[Column] = ()
    first_rows: Sequence[tuple[int, Sequence[str | None]]] = ()
    planned: int = 0
    planned_name: str = ""
    refused: int = 0
    overwrites: int = 0
    overwrites_note: str = ""
    calls: int = 0
    calls_note: str = ""
    duration: str = ""
    rate: str = ""
    can_start: bool = False
    asks_connector: bool = False
    doubted: frozenset[str] = frozenset()
    unfinished: JobStatus | None = None
    sheets: Sequence[str] = ()
    sheet: str | None = None

    @property
    def problems_caption(self) -> str:
        shown = sum(problem.count for problem in self.problems)
        first = f"the first {shown:,} of {self.problem_count:,}, " if shown < self.problem_count else ""
        return f"Row and column as a spreadsheet shows them; {first}the header being row 1"

    @classmethod
    def running(cls, activity: str) -> "Check":
        return cls(is_running=True, activity=activity)

    @classmethod
    def impossible(cls) -> "Check":
        """With options that make no sense beside each other."""
        text = "Each that is in the way says so below. Nothing was checked yet."
        return cls(verdict=Notice("bad", text, heading="These options do not go together."))

    @classmethod
    def unusable(cls, error: Unreadable | Rejected) -> "Check":
        """Of a file that cannot be used, with all that is wrong with it."""
        count = error.count if isinstance(error, Rejected) else len(error.problems)
        text = "Correct it and drop it again; nothing was changed."
        verdict = Notice("bad", text, heading="This file cannot be used as it is.")
        preview = error.preview if isinstance(error, Unreadable) else None
        check = cls(
            has_options=preview is not None,
            verdict=verdict,
            problems=_told(error.problems),
            problem_count=count,
        )
        if preview is None:
            return check
        return replace(
            check,
            columns=[_column(preview.header, at, typed) for at, typed in enumerate(preview.columns)],
            first_rows=preview.rows,
            asks_connector="connector" not in preview.header.positions,
        )

    @classmethod
    def failed(cls, why: str) -> "Check":
        """One that came to no result; it may be made once more."""
        text = f"{sentence(why)} Nothing was changed."
        return cls(verdict=Notice("bad", text, heading="The file could not be checked."))

    @classmethod
    def finished(
        cls, checked: Checked, *, unfinished: JobStatus | None, earlier: Sequence[str], kept_for_h: float
    ) -> "Check":
        """`earlier`: which jobs have done the rows that are left out, in sentences. `kept_for_h`: what is overwritten."""
        estimate, options = checked.estimate, checked.options
        kept = "not kept" if options.no_undo else f"kept for {in_words(3600 * kept_for_h)}"
        return cls(
            verdict=_verdict(checked),
            problems=_told(checked.problems),
            problem_count=checked.problem_count,
            warnings=checked.warnings,
            earlier=earlier,
            facts=list(_facts(checked)),
            columns=[_column(checked.source.header, *each) for each in enumerate(checked.source.columns)],
            first_rows=_first_rows(checked),
            planned=checked.planned,
            planned_name="Rows to update" if options.operation == "update" else "Rows to install or fill in",
            overwrites=estimate.overwrites,
            overwrites_note=f"at most; what they were is {kept}",
            refused=checked.refused,
            calls=estimate.calls,
            calls_note=estimate.calls_in_words,
            duration=f"about {in_words(estimate.seconds)}",
            rate=str(checked.pace),
            can_start=bool(checked.planned) and not checked.survey.problems,
            asks_connector="connector" not in checked.source.header.positions,
            doubted=frozenset(checked.doubted_columns),
            unfinished=unfinished,
            sheets=checked.source.sheets,
            sheet=checked.source.sheet,
        )


def _told(problems: Sequence[Problem]) -> list[Problem]:
    return [problem.told(WAYS) for problem in problems[:SHOWN_PROBLEMS]]


def _verdict(checked: Checked) -> Notice:
    rows = counted(checked.survey.rows, "row")
    if checked.survey.problems:
        return Notice("bad", "Correct it and drop it again.", heading="This file cannot be started as it is.")
    if not checked.problem_count and not checked.planned:
        return Notice("good", "Every row was done by an earlier job.", heading="Nothing to do.")
    if not checked.problem_count:
        return Notice("good", "It can be started.", heading=f"{rows}, no problems.")
    if checked.is_only_live:
        jobs = listed([f"job {job_id}" for job_id in list(checked.live)[:SHOWN_JOBS]], len(checked.live))
        text = f"Let it end, or cancel it, then check this file again{', or start without these rows' if checked.planned else ''}."
        are = "is" if checked.refused == 1 else "are"
        return Notice(
            "warn", text, heading=f"{checked.refused:,} of {rows} {are} still to be done by {jobs}."
        )
    if not checked.planned:
        if checked.skipped:
            heading = "Every row that was not done by an earlier job has a problem."
            return Notice("bad", "Correct the file and drop it again.", heading=heading)
        is_one = checked.survey.rows == 1
        heading = "The only row has a problem." if is_one else f"All {rows} have problems."
        return Notice("bad", "Correct the file and drop it again.", heading=heading)
    text = f"Correct the file and drop it again, or start without them: {checked.planned:,} are left."
    have = "has a problem" if checked.refused == 1 else "have problems"
    return Notice("warn", text, heading=f"{checked.refused:,} of {rows} {have}.")


def _facts(checked: Checked) -> Iterator[tuple[str, str]]:
    source, found = checked.source, checked.survey
    yield from source.form.items()
    yield "Rows", f"{found.rows:,}"
    left_out = [(found.comments, "Comment lines"), (found.empty, "Empty lines")]
    for count, name in left_out:
        if count:
            yield name, f"{count:,}, left out"
    new = checked.new_accounts
    if new.count:
        yield "New accounts", f"{new.count:,}, created first: {listed(new.first, new.count)}"
    if checked.options.as_written:
        yield (
            "Taken as written",
            " and ".join(AS_WRITTEN[each] for each in sorted(checked.options.as_written)),
        )
    for name, uses in (
        ("Connectors", checked.connectors),
        ("Methods", checked.methods),
        ("Settings", checked.properties),
    ):
        if uses:
            yield name, _in_a_line(uses)


def _in_a_line(uses: Counter[str]) -> str:
    ranked = sorted(uses.items(), key=lambda use: (-use[1], use[0]))
    return listed([f"{name} ({counted(count, 'row')})" for name, count in ranked[:SHOWN_USES]], len(ranked))


def _column(header: Header, position: int, typed: str | None) -> Column:
    """`typed`: None where it is perhaps no name."""
    name = header.names[position]
    if name in RESULT_COLUMNS:
        return Column(typed or "", _meaning(name), "muted")
    menu = _menu(header, position, typed) if typed else ()
    return Column(typed or "", _meaning(name), "muted" if name is None else "", menu)


def _meaning(name: str | None) -> str:
    if name is None:
        return "not used"
    if name in RESULT_COLUMNS:
        return "of an earlier result"
    if name in AUTH_COLUMNS:
        return "the credential"
    if name.startswith(PROPERTY_PREFIX):
        return f"the setting {name.removeprefix(PROPERTY_PREFIX)}"
    return MEANINGS.get(name, name)


def _menu(header: Header, position: int, typed: str) -> list[tuple[str, str, bool]]:
    """First what it is by its own name, which needs not be said; a suggestion is never chosen by itself."""
    chosen = header.names[position] or "" if position in header.mapped else None
    suggested = find_similar(typed) if header.names[position] is None else None
    of_file = canonical(typed) if is_known(typed) else None
    menu = [("", f"by its name: {_meaning(of_file)}", chosen is None)]
    others = dict.fromkeys([*INPUT_COLUMNS, *([chosen] if chosen else [])])
    for name in sorted(others, key=lambda each: each != suggested):
        if name != of_file:
            hint = " (perhaps)" if name == suggested else ""
            menu.append((f"{typed}={name}", f"{name}{hint}", chosen == name))
    if of_file is not None:
        menu.append((f"{typed}=", "not used", chosen == ""))
    return menu


def _first_rows(checked: Checked) -> list[tuple[int, list[str | None]]]:
    """Without the secrets, and without what may be one. Raises: FileChanged."""
    source, options = checked.source, checked.options
    swallowed = checked.survey.swallowed(source, options, checked.accounts.is_mentioned)
    lines = (line for line in source.lines() if not (line.is_empty or line.is_comment))
    rows = (read_row(line, source.header, options, swallowed) for line in islice(lines, SHOWN_ROWS))
    return [(row.number, [None if cell == NOT_EXPORTED else cell for cell in row.cells]) for row in rows]
