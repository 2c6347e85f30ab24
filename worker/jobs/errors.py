"""Why a checked file does not become a job."""

from collections.abc import Sequence

from worker.domain.failures import ToldFailure
from worker.domain.rows import Problem


class Rejected(ToldFailure):
    """Rows have problems. `problems`: the first of them; `count`: of all, where there are more."""

    def __init__(self, problems: Sequence[Problem], count: int | None = None) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
        self.count = len(self.problems) if count is None else count
