"""Memories of a million keys that stay small: hashes and numbers in arrays, not objects."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from worker.domain.accounts import skeleton

_FIRST_SLOTS = 1 << 10


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
