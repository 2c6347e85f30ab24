"""What a pass finds to say: bounded, however long the file is. Rows with problems do not become a job: `Rejected`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from worker.domain.failures import ToldFailure
from worker.domain.rows import Problem, Span, Warning_

KEPT = 1_000
SPANS_KEPT = 5

ProblemOrWarning = TypeVar("ProblemOrWarning", Problem, Warning_)


class Findings:
    """The first problems and warnings of a pass, and how many there were.

    Those that say the same of many rows are kept once, with the first of these rows and their number.
    `doubted`: columns with problems that there would not be if their values were taken as written. `live`: unfinished jobs
    that have still to do rows of this file, and how many.
    """

    def __init__(self) -> None:
        self.doubted: set[str] = set()
        self.live: dict[str, int] = {}
        self._problems: _Kept[Problem] = _Kept()
        self._warnings: _Kept[Warning_] = _Kept()

    def add_problem(self, problem: Problem) -> None:
        self._problems.add(problem)

    def add_warning(self, warning: Warning_) -> None:
        self._warnings.add(warning)

    def note_live(self, job_id: str) -> None:
        if job_id in self.live or len(self.live) < KEPT:
            self.live[job_id] = self.live.get(job_id, 0) + 1

    @property
    def problems(self) -> list[Problem]:
        return list(self._problems)

    @property
    def problem_count(self) -> int:
        return self._problems.count

    @property
    def warnings(self) -> list[Warning_]:
        return list(self._warnings)

    @property
    def warning_count(self) -> int:
        return self._warnings.count


@dataclass(slots=True)
class _Rows(Generic[ProblemOrWarning]):
    """Of one finding. `spans`: the first of them, in the file's order."""

    first: ProblemOrWarning
    spans: list[Span]
    count: int

    def add(self, number: int | None, count: int) -> None:
        self.count += count
        if number is None:
            return
        if self.spans and self.spans[-1][1] == number - 1:
            self.spans[-1] = (self.spans[-1][0], number)
        elif len(self.spans) < SPANS_KEPT:
            self.spans.append((number, number))


class _Kept(Generic[ProblemOrWarning]):
    """The first distinct findings, each with its rows."""

    def __init__(self) -> None:
        self.count = 0
        self._rows: dict[tuple[str | None, str], _Rows[ProblemOrWarning]] = {}

    def add(self, finding: ProblemOrWarning) -> None:
        self.count += finding.count
        key = (finding.column, finding.reason)
        rows = self._rows.get(key)
        if rows is None:
            if len(self._rows) >= KEPT:
                return
            rows = self._rows[key] = _Rows(finding, [], 0)
        rows.add(finding.row_number, finding.count)

    def __iter__(self) -> Iterator[ProblemOrWarning]:
        for rows in self._rows.values():
            spans = tuple(rows.spans) if rows.count > 1 else ()
            yield replace(rows.first, count=rows.count, spans=spans)


class Rejected(ToldFailure):
    """Rows have problems. `problems`: the first of them; `count`: of all, where there are more."""

    def __init__(self, problems: Sequence[Problem], count: int | None = None) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
        self.count = len(self.problems) if count is None else count
