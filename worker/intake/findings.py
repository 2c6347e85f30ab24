"""What a pass over a file keeps, bounded however long the file is: what it finds to say, and a million keys as hashes and numbers in
arrays. Rows with problems do not become a job: `Rejected`."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Generic, TypeVar

from worker.domain.failures import ToldFailure
from worker.domain.rows import Problem, Span, Warning_
from worker.domain.targets import skeleton

KEPT = 1_000
SPANS_KEPT = 5

ProblemOrWarning = TypeVar("ProblemOrWarning", Problem, Warning_)

_FIRST_SLOTS = 1 << 10


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


class FirstRows:
    """The first row of each key, in 12 to 36 bytes a key. Keys are told apart by 64 bits of a hash."""

    def __init__(self) -> None:
        self._hashes = array("Q", bytes(8 * _FIRST_SLOTS))
        self._numbers = array("I", bytes(4 * _FIRST_SLOTS))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: str, number: int) -> int | None:
        """The number that the key was first added with; None if it is new."""
        hash_ = _hash(key)
        slot = self._slot(hash_)
        if self._hashes[slot]:
            return self._numbers[slot]
        self._hashes[slot], self._numbers[slot] = hash_, number
        self._count += 1
        if 5 * self._count > 3 * len(self._hashes):
            self._grow()
        return None

    def find(self, key: str) -> int | None:
        slot = self._slot(_hash(key))
        return self._numbers[slot] if self._hashes[slot] else None

    def _slot(self, hash_: int) -> int:
        last = len(self._hashes) - 1
        slot = hash_ & last
        while self._hashes[slot] not in (0, hash_):
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        hashes, numbers = self._hashes, self._numbers
        self._hashes = array("Q", bytes(16 * len(hashes)))
        self._numbers = array("I", bytes(8 * len(numbers)))
        for hash_, number in zip(hashes, numbers, strict=True):
            if hash_:
                slot = self._slot(hash_)
                self._hashes[slot], self._numbers[slot] = hash_, number


def _hash(key: str) -> int:
    # Zero marks a free slot.
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1


@dataclass(frozen=True, slots=True)
class SurveyedAccount:
    """An account of the file. `has_columns`: some row of it tells how to create it."""

    id: str
    first_row: int
    has_columns: bool


class Accounts:
    """The distinct account ids of a file in their order, in about 30 bytes each beside their text."""

    def __init__(self) -> None:
        self._places = FirstRows()
        self._text = bytearray()
        self._ends = array("Q")
        self._first_rows = array("I")
        self._has_columns = bytearray()
        self._skeletons = FirstRows()

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[SurveyedAccount]:
        start = 0
        for place, end in enumerate(self._ends):
            yield self._account(place, start, end)
            start = end

    def _account(self, place: int, start: int, end: int) -> SurveyedAccount:
        account_id = self._text[start:end].decode()
        return SurveyedAccount(account_id, self._first_rows[place], bool(self._has_columns[place]))

    def add(self, account_id: str, row_number: int, *, has_columns: bool) -> SurveyedAccount | None:
        """The account that came first of those that look like this one, if this is a new one, and there is another."""
        place = self._places.add(account_id, len(self))
        if place is not None:
            if has_columns:
                self._has_columns[place] = True
            return None
        first = self._skeletons.add(skeleton(account_id), len(self))
        self._text += account_id.encode()
        self._ends.append(len(self._text))
        self._first_rows.append(row_number)
        self._has_columns.append(has_columns)
        return (
            None
            if first is None
            else self._account(first, self._ends[first - 1] if first else 0, self._ends[first])
        )

    def has_like(self, account_id: str) -> bool:
        """Whether some account of the file may look like this one."""
        return self._skeletons.find(skeleton(account_id)) is not None
