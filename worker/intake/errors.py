"""Why a file cannot be worked with at all.

Unreadable    the file as a whole is wrong: nothing of it can be used
FileChanged   it is not the file any more that was opened
"""

from collections.abc import Iterable
from pathlib import Path

from worker.domain.failures import ToldFailure
from worker.domain.rows import Problem


class Unreadable(ToldFailure):
    """The file as a whole is wrong. `problems` is never empty."""

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{path}: {problem}" for problem in self.problems))


class FileChanged(ToldFailure):
    """The bytes differ from those that were opened, so what was found then does not hold any more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} was changed while it was being read: start again when it is complete")
