"""Account ids that may not be the ones that were meant, by what the file and Cyclr's accounts say together."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from worker.domain.accounts import look_alike, skeleton
from worker.intake.survey import Survey
from worker.intake.values import ends_in_zeros, find_doubt, is_long_number

CREATED_OTHERWISE = "Cyclr has no such account, so this row would create it: write the id that is meant"
_KEPT_ALIKE = 10_000


@dataclass(frozen=True, slots=True)
class AskedAccounts:
    """What Cyclr said of a file's accounts.

    `missing`: those of its rows that Cyclr does not have. `mentioned`: those texts of the survey's `mentioned` that are
    accounts of Cyclr's. `alike`: skeleton of an id -> accounts of Cyclr's that have it and are not in the file.
    """

    missing: AbstractSet[str] = frozenset()
    mentioned: AbstractSet[str] = frozenset()
    alike: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_mentioned(self, text: str) -> bool:
        return text in self.mentioned


class Listening:
    """Gathers, while Cyclr's accounts are listed, what they say of the ids of a file."""

    def __init__(self, survey: Survey, wanted: AbstractSet[str]) -> None:
        self._survey = survey
        self._wanted = wanted
        self._mentioned: set[str] = set()
        self._alike: dict[str, tuple[str, ...]] = {}

    def hear(self, account_ids: Iterable[str]) -> None:
        """A page of Cyclr's accounts. The same one twice does no harm."""
        for account_id in account_ids:
            if account_id in self._survey.mentioned:
                self._mentioned.add(account_id)
            if account_id in self._wanted or not self._survey.accounts.has_like(account_id):
                continue
            key = skeleton(account_id)
            others = self._alike.get(key, ())
            if account_id not in others and len(self._alike) < _KEPT_ALIKE:
                self._alike[key] = (*others, account_id)

    def asked(self, missing: AbstractSet[str]) -> AskedAccounts:
        return AskedAccounts(missing, self._mentioned, self._alike)


def find_doubts(account_id: str, survey: Survey, asked: AskedAccounts | None) -> Iterator[str]:
    """Every reason to doubt the id, in words for people."""
    if reason := find_doubt(account_id):
        yield reason
    if "account_id" in survey.rounded and is_long_number(account_id) and ends_in_zeros(account_id):
        yield f"'{account_id}' ends in zeros behind its 15th digit, as all long ids of this file, so a spreadsheet may have rounded it"
    if first := survey.alike.get(account_id):
        yield f"'{account_id}' looks like '{first.id}' of row {first.first_row}, and is another id"
    if asked is not None and asked.alike:
        like = next(
            (id_ for id_ in asked.alike.get(skeleton(account_id), ()) if look_alike(account_id, id_)), None
        )
        if like is not None:
            yield f"'{account_id}' looks like '{like}', which Cyclr has, and is another id"
