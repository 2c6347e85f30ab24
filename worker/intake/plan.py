"""The second pass over a file: each row with everything that is known, and what becomes of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from worker.domain.connectors import Connector, ConnectorRef, DoubtedVersion
from worker.domain.options import RunOptions
from worker.domain.rows import (
    AUTH_COLUMNS,
    PROPERTY_PREFIX,
    SECRET_COLUMNS,
    PlannedRow,
    Problem,
    RefusedRow,
    Row,
    SkippedRow,
    StoredRow,
    Warning_,
    Way,
)
from worker.domain.targets import KnownTarget, fold, target_key
from worker.intake.columns import Header
from worker.intake.files import Line, Source
from worker.intake.findings import Findings, FirstRows
from worker.intake.fit import Comparison, Fit, Memory, Past, StoredAt, connector_key, fit_row
from worker.intake.plain import RowReader
from worker.intake.rows import withheld_columns
from worker.intake.survey import CREATED_OTHERWISE, AskedAccounts, Survey, find_doubts

BATCH_ROWS = 1_000
BATCH_CHARACTERS = 4_000_000  # rows may be long, and memory is not to grow with them
MOST_FITS = 1_000

Catalogue = Mapping[ConnectorRef, Connector | str]
Outcome = PlannedRow | RefusedRow | SkippedRow


def iter_plan(
    source: Source,
    options: RunOptions,
    *,
    instance_id: str,
    survey: Survey,
    catalogue: Catalogue | None,
    accounts: AskedAccounts | None,
    memory: Memory | None,
    findings: Findings,
) -> Iterator[Outcome]:
    """What becomes of every line that is neither empty nor a comment, in the file's order, streamed.

    `survey`: of the same source. `catalogue`: for every connector that the survey found, what it is, or the reason for
    people why it is none. `accounts`: what Cyclr said of the file's accounts. None for either: Cyclr was not asked, and
    the rules that need it are left out; None for `memory` likewise, and values that stand in the database stay unread.
    Rows of such a pass are good for a report, and for nothing that changes Cyclr.

    Problems and warnings go to `findings` too.

    Raises: FileChanged, perhaps after the last row: nothing of the pass may be used then.
    """
    for warning in survey.warnings:
        findings.add_warning(warning)
    planner = _Planner(source.header, options, instance_id, survey, catalogue, accounts, memory, findings)
    lines = (line for line in source.lines() if not (line.is_empty or line.is_comment))
    swallowed = survey.swallowed(source, options, (accounts or AskedAccounts()).is_mentioned)
    read = RowReader(source.header, options, swallowed).read
    for batch in _batches(lines):
        yield from planner.judge([read(line) for line in batch])


def refuse_live(planned: PlannedRow, job_id: str, findings: Findings) -> RefusedRow:
    """What becomes of a planned row whose target the job of this id has got since; `findings` has the problem too."""
    row = planned.row
    problem = _live_problem(row, job_id)
    findings.add_problem(problem)
    findings.note_live(job_id)
    return RefusedRow(row.number, row.cells_if_refused or row.cells, (problem,))


def _live_problem(row: Row, job_id: str) -> Problem:
    return Problem(
        row.number, None, f"still to be done by job {job_id}: let that job end first, or cancel it"
    )


def _batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """As many lines at a time as make one question to the database worth while, and fewer where they are long."""
    batch: list[Line] = []
    characters = 0
    for line in lines:
        batch.append(line)
        characters += sum(map(len, line.cells))
        if len(batch) >= BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


@dataclass(slots=True)
class _Candidate:
    """A row that the file's own rules accept, and what is known of it so far."""

    row: Row
    connector: Connector | None
    name: str
    target: str
    withheld: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Warning_] = field(default_factory=list)


class _Planner:
    """What one pass knows."""

    def __init__(
        self,
        header: Header,
        options: RunOptions,
        instance_id: str,
        survey: Survey,
        catalogue: Catalogue | None,
        accounts: AskedAccounts | None,
        memory: Memory | None,
        findings: Findings,
    ) -> None:
        self._header = header
        self._options = options
        self._instance_id = instance_id
        self._survey = survey
        self._catalogue = catalogue
        self._asked = accounts
        self._memory = memory
        self._findings = findings
        self._targets = FirstRows()
        self._accounts = FirstRows()
        self._account_values = FirstRows()
        self._comparison = Comparison(header, instance_id, survey)
        # Rows alike in all that the catalogue's rules look at: what came of the first of them.
        self._fits: dict[tuple[ConnectorRef, str | None, tuple[str, ...]], Fit] = {}
        self._shown: dict[ConnectorRef, tuple[str, ...]] = {}

    def judge(self, batch: Sequence[Row | RefusedRow]) -> Iterator[Outcome]:
        opened = [self._refuse(row) if isinstance(row, RefusedRow) else self._open(row) for row in batch]
        candidates = [each for each in opened if isinstance(each, _Candidate)]
        known = self._ask_targets(candidates)
        past = self._ask_past(candidates)
        for each in opened:
            outcome = (
                each if isinstance(each, RefusedRow) else self._close(each, known.get(each.target), past)
            )
            if isinstance(outcome, RefusedRow):
                for problem in outcome.problems:
                    self._findings.add_problem(problem)
            yield outcome

    def _ask_targets(self, candidates: Sequence[_Candidate]) -> Mapping[str, KnownTarget]:
        keys = list(dict.fromkeys(each.target for each in candidates))
        return self._memory.targets(keys) if self._memory and keys else {}

    def _ask_past(self, candidates: Sequence[_Candidate]) -> Past:
        """The items that rows of a result file refer to, and whose Names they have now where they have others."""
        referring = [(each, each.row.stored_at) for each in candidates if each.row.stored_at is not None]
        if self._memory is None or not referring:
            return Past({}, {})
        rows = self._memory.stored_rows(list(dict.fromkeys(at for _, at in referring)))
        renamed = [
            (at[0], each.target)
            for each, at in referring
            if (stored := rows.get(at)) is not None and fold(stored.name) != fold(each.name)
        ]
        return Past(rows, self._memory.namesakes(renamed) if renamed else {})

    def _is_done(self, row: Row, known: KnownTarget | None, past: Past) -> bool:
        """Whether a run may leave the row out. An update changes what is done, and is handed in for that; so is a row whose
        credential was filled in anew, and one that came after what is done and asked for something else."""
        if self._options.operation != "install" or not self._header.is_result or known is None:
            return False
        if known.state != "installed" or not row.secrets.keys().isdisjoint(SECRET_COLUMNS):
            return False
        stored = past.rows.get(row.stored_at) if row.stored_at is not None else None
        return stored is None or stored.item_id <= known.item_id

    def _refuse(self, refused: RefusedRow) -> RefusedRow:
        """The same with what the catalogue and the accounts say of it too: all of a row's problems come at once.

        A column that has a problem already gets no second one, which may only follow from the first.
        """
        row = refused.row
        if row is None:
            return refused
        found = self._find_connector(row)
        more = [*self._missing_account_problems(row), *self._doubts(row)]
        if isinstance(found, str):
            more.append(self._connector_problem(row, found))
        if isinstance(found, Connector):
            values = {**dict.fromkeys(withheld_columns(row, self._header)), **row.secrets}
            fit = fit_row(row.number, row.authentication, values, found, self._options)
            more.extend(self._header.labelled(problem) for problem in fit.problems)
        flawed = {problem.column for problem in refused.problems}
        new = tuple(problem for problem in more if problem.column not in flawed)
        return replace(refused, problems=refused.problems + new)

    def _find_connector(self, row: Row) -> Connector | str | None:
        return None if self._catalogue is None else self._catalogue.get(row.connector, "it was not looked up")

    def _connector_problem(self, row: Row, reason: str) -> Problem:
        way = Way.VERSIONS_AS_WRITTEN if isinstance(reason, DoubtedVersion) else None
        return self._problem(row, "connector" if self._options.connector is None else None, reason, way=way)

    def _open(self, row: Row) -> _Candidate:
        found = self._find_connector(row)
        connector = found if isinstance(found, Connector) else None
        name = row.name or (connector.name if connector else row.connector.name_or_id)
        target = target_key(self._instance_id, row.account_id, name)
        candidate = _Candidate(row, connector, name, target, withheld_columns(row, self._header))
        if isinstance(found, str):
            candidate.problems.append(self._connector_problem(row, found))
        candidate.problems.extend(self._account_problems(row))
        candidate.problems.extend(self._doubts(row, candidate.warnings))
        candidate.problems.extend(self._repeated_target(candidate))
        candidate.warnings.extend(self._other_warnings(candidate))
        return candidate

    def _close(
        self,
        each: _Candidate,
        known: KnownTarget | None,
        past: Past,
    ) -> Outcome:
        row = each.row
        differing: tuple[Problem, ...] = ()
        if self._memory is not None:
            differing = tuple(
                self._comparison.problems(row, each.name, each.connector, past, each.target, known)
            )
        is_done = self._is_done(row, known, past)
        if not differing and known is not None and is_done and not self._options.look_again:
            return SkippedRow(row.number, row.cells, known.job_id, known.row_number)
        if known is not None and known.state == "live":
            each.problems.append(_live_problem(row, known.job_id))
            self._findings.note_live(known.job_id)
        each.problems.extend(differing)
        secrets = dict(row.secrets)
        not_kept: list[str] = []
        if self._memory is not None and not differing:
            each.problems.extend(self._fill(each, secrets, past.rows, not_kept if is_done else None))
        fit = self._fit(each, secrets)
        if each.problems:
            return RefusedRow(row.number, row.cells_if_refused or row.cells, tuple(each.problems))
        for warning in (*row.warnings, *each.warnings, *map(self._header.labelled, fit.warnings)):
            self._findings.add_warning(warning)
        return PlannedRow(
            row=row,
            name=each.name,
            target=each.target,
            connector_key=connector_key(row.connector),
            authentication_id=fit.authentication_id,
            cells=self._shown_cells(each, secrets),
            secrets=secrets,
            must_look=known is not None,
            not_kept=tuple(not_kept),
        )

    def _missing_account_problems(self, row: Row) -> Iterator[Problem]:
        if row.account is None and self._is_missing(row):
            or_create = ", or fill in account_name in this row to have the account created"
            yield self._problem(
                row,
                "account_id",
                f"Cyclr has no account '{row.account_id}': correct the id"
                f"{or_create if self._options.operation == 'install' else ''}",
            )

    def _is_missing(self, row: Row) -> bool:
        return self._asked is not None and row.account_id in self._asked.missing

    def _doubts(self, row: Row, warnings: list[Warning_] | None = None) -> Iterator[Problem]:
        """Why this may not be the account that was meant: a warning where Cyclr has it, and a problem where the row would
        create it, unless the ids are taken as they are written."""
        if self._is_missing(row) and row.account is None:
            return  # that is the problem
        is_problem = self._is_missing(row) and "account_id" not in self._options.as_written
        for reason in find_doubts(row.account_id, self._survey, self._asked):
            if is_problem:
                self._findings.doubted.add("account_id")
                told = f"{reason}, and {CREATED_OTHERWISE}"
                yield self._problem(row, "account_id", told, Way.ACCOUNT_IDS_AS_WRITTEN)
            elif warnings is not None:
                label = self._header.label("account_id")
                warnings.append(Warning_(row.number, label, reason))

    def _other_warnings(self, each: _Candidate) -> Iterator[Warning_]:
        row = each.row
        for column in row.secrets:
            if column in self._survey.rounded:
                reason = "all long numbers of this column end in zeros, as a spreadsheet leaves them: compare one with its source"
                yield Warning_(row.number, self._header.label(column), reason)
        version = row.connector.version
        if version and each.connector and fold(version) != fold(each.connector.version or ""):
            reason = (
                f"it has no version {version}, and this was read as {each.connector.version}, which a spreadsheet may have "
                "shortened to it"
            )
            yield Warning_(row.number, self._header.label("connector_version"), reason)

    def _account_problems(self, row: Row) -> Iterator[Problem]:
        yield from self._missing_account_problems(row)
        if row.account is None:
            return
        account_id = fold(row.account_id)
        values = "\x1f".join(
            (account_id, row.account.name, row.account.description or "", row.account.timezone or "")
        )
        first = self._accounts.add(account_id, row.number)
        if first is None:
            self._account_values.add(values, row.number)
        elif self._account_values.find(values) is None:
            yield self._problem(
                row,
                "account_name",
                f"expected the same account_name, account_description and account_timezone as in row {first}, "
                "which is of the same account; got others",
            )

    def _repeated_target(self, candidate: _Candidate) -> Iterator[Problem]:
        row = candidate.row
        first = self._targets.add(candidate.target, row.number)
        if first is not None:
            yield self._problem(
                row,
                None,
                f"it repeats row {first}: account '{row.account_id}' gets '{candidate.name}' once; "
                "remove one of the two, or give it another name",
            )

    def _fill(
        self,
        each: _Candidate,
        secrets: dict[str, str],
        stored: Mapping[StoredAt, StoredRow | None],
        not_kept: list[str] | None,
    ) -> Iterator[Problem]:
        """Puts the stored values into `secrets`; a problem for each that is not to be had. `not_kept`: gets the columns whose
        values are kept no longer, of a row that goes on without them; None: it does not."""
        if each.row.stored_at is None:
            return
        job_id, number = each.row.stored_at
        found = stored.get(each.row.stored_at)
        kept = {} if found is None else found.secrets
        for column in each.withheld:
            what = "credential" if column in AUTH_COLUMNS else "value"
            mend = "fill it in"
            if self._options.operation == "update":
                mend += f", or empty the cell to leave the {what} as it is"
            if kept is not None and column in kept:
                secrets[column] = kept[column]
            elif kept is None and not_kept is not None:
                not_kept.append(column)
            elif kept is None:
                yield self._problem(each.row, column, f"the {what} is no longer kept, {mend}")
            else:
                reason = f"row {number} of job {job_id} has no such {what}, {mend}"
                yield self._problem(each.row, column, reason)

    def _fit(self, each: _Candidate, secrets: Mapping[str, str]) -> Fit:
        if each.connector is None:
            return Fit(None, (), ())
        alike = (each.row.connector, each.row.authentication, tuple(secrets))
        if not each.withheld and (known := self._fits.get(alike)) is not None:
            return known
        values = {**dict.fromkeys(each.withheld), **secrets}
        fit = fit_row(each.row.number, each.row.authentication, values, each.connector, self._options)
        each.problems.extend(self._header.labelled(problem) for problem in fit.problems)
        has_choices = any(parameter.choices for parameter in each.connector.account_properties)
        is_of_all = not (each.withheld or has_choices or fit.problems or fit.warnings)
        if is_of_all and len(self._fits) < MOST_FITS:
            self._fits[alike] = fit
        return fit

    def _shown_cells(self, each: _Candidate, secrets: Mapping[str, str]) -> tuple[str, ...]:
        if each.connector is None:
            return each.row.cells
        shown = self._shown.get(each.row.connector)
        if shown is None:
            shown = self._shown[each.row.connector] = tuple(
                f"{PROPERTY_PREFIX}{parameter.target_name}"
                for parameter in each.connector.account_properties
                if not parameter.is_sensitive
            )
        given = [column for column in shown if column in secrets]
        if not given:
            return each.row.cells
        cells = list(each.row.cells)
        for column in given:
            cells[self._header.positions[column]] = secrets[column]
        return tuple(cells)

    def _problem(self, row: Row, column: str | None, reason: str, way: Way | None = None) -> Problem:
        return Problem(row.number, None if column is None else self._header.label(column), reason, way=way)
