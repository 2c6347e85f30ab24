"""What a pass finds to say: bounded, however long the file is."""

from worker.domain.rows import Problem, Warning_

KEPT = 1_000


class Findings:
    """The first problems and warnings of a pass, and how many there were.

    Warnings that say the same of many rows are kept once, with the first row and the number of the others.
    `doubted`: columns with problems that there would not be if their values were taken as written.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.warning_count = 0
        self.doubted: set[str] = set()
        self._warnings: dict[tuple[str | None, str], tuple[int | None, int]] = {}

    def add_problem(self, problem: Problem) -> None:
        self.problem_count += 1
        if len(self.problems) < KEPT:
            self.problems.append(problem)

    def add_warning(self, warning: Warning_) -> None:
        self.warning_count += 1
        key = (warning.column, warning.reason)
        if key in self._warnings:
            first_row, others = self._warnings[key]
            self._warnings[key] = (first_row, others + 1)
        elif len(self._warnings) < KEPT:
            self._warnings[key] = (warning.row_number, 0)

    @property
    def warnings(self) -> list[Warning_]:
        return [
            Warning_(first_row, column, f"{reason} (and {others:,} more)" if others else reason)
            for (column, reason), (first_row, others) in self._warnings.items()
        ]
