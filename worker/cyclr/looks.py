"""A look: what has an account under a Name, and does it have the connector elsewhere?"""

import asyncio
from dataclasses import dataclass, field, replace

from worker.cyclr.client import CyclrClient
from worker.cyclr.errors import OutcomeUnknown
from worker.cyclr.exchange import NextPermit
from worker.domain.connectors import AccountConnector
from worker.domain.targets import fold

MAX_READINGS = 6
MAX_PAGES = 200
_COMPARED_AT_ONCE = 20  # names that were made for it take a millisecond each


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The same connector under another Name."""

    name: str
    id: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look has shown.

    `found`: the one account connector of this Name and connector; an exact Name goes before one in another spelling. None:
    there is none, or (`is_ambiguous`) more than one. `taken_by`: which other connector has the Name. `elsewhere`: where else
    the connector is installed. `highest_id`: of all, 0 where there is none; None where the list moved or may
    have moved while it was read, so that there may be a higher one.
    """

    found: AccountConnector | None = None
    is_ambiguous: bool = False
    taken_by: str | None = None
    elsewhere: tuple[Elsewhere, ...] = ()
    highest_id: int | None = None


async def look(
    client: CyclrClient,
    next_permit: NextPermit,
    account_id: str,
    *,
    name: str,
    connector_name: str,
    is_strict: bool,
) -> Finding:
    """What the account holds, from its whole list. Each page takes a permit of its own.

    `is_strict`: something of the target may have been sent, so that an absence must be proven: what it calls absent may be
    installed, once. Else one reading is enough. Safe to repeat. Raises: OutcomeUnknown where the list never stands still; the
    errors of a call.
    """
    earlier: set[int] | None = None
    for _ in range(MAX_READINGS):
        reading = await _read(client, next_permit, account_id, name, connector_name)
        # Presence counts at once. Absence does where one answer held the whole list: nothing could move meanwhile.
        is_proven = reading.is_one_answer or (reading.ids == earlier and not reading.has_moved)
        if reading.named or is_proven or not is_strict:
            finding = reading.finding(name, connector_name)
            return replace(finding, highest_id=max(reading.ids, default=0) if is_proven else None)
        # A list that changes while it is read can hide an entry between two pages, so it must read the same twice.
        # One that showed an entry twice has moved while it was read: where it moves on alike, it reads the same too.
        earlier = None if reading.has_moved else reading.ids
    raise OutcomeUnknown(f"the account's connectors changed during each of {MAX_READINGS} readings")


@dataclass(slots=True)
class _Reading:
    """`named`: all of the Name, of whatever connector. `has_moved`: an entry stood on two pages, or the pages were more or
    fewer than before, so another one may have stood on none."""

    ids: set[int] = field(default_factory=set)
    named: list[AccountConnector] = field(default_factory=list)
    elsewhere: list[Elsewhere] = field(default_factory=list)
    is_one_answer: bool = False
    has_moved: bool = False

    def finding(self, name: str, connector_name: str) -> Finding:
        matching = [entry for entry in self.named if is_of(connector_name, entry)]
        exact = [entry for entry in matching if entry.name == name]
        best = exact or matching
        others = [entry.connector_name for entry in self.named if entry not in matching]
        return Finding(
            best[0] if len(best) == 1 else None,
            is_ambiguous=len(best) > 1,
            taken_by=next(iter(others), None),
            elsewhere=tuple(self.elsewhere),
        )


def is_of(connector_name: str, entry: AccountConnector) -> bool:
    """By the connector's name: its id is that of a release, and changes with an upgrade."""
    return fold(entry.connector_name) == fold(connector_name)


async def _read(
    client: CyclrClient, next_permit: NextPermit, account_id: str, name: str, connector_name: str
) -> _Reading:
    """All pages once, to the end: a second one that matches may stand on the last."""
    reading = _Reading()
    totals: set[int | None] = set()
    for page_number in range(1, MAX_PAGES + 1):
        page = await client.list_account_connectors(await next_permit(), account_id, page_number)
        new = [entry for entry in page.items if entry.id not in reading.ids]
        # Without a total a page of old entries only is the end: some servers repeat their last page.
        reading.has_moved |= len(new) < len(page.items) and (bool(new) or page.total_pages is not None)
        totals.add(page.total_pages)
        reading.has_moved |= len(totals) > 1
        reading.ids.update(entry.id for entry in new)
        for number, entry in enumerate(new, start=1):
            if number % _COMPARED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if fold(entry.name) == fold(name):
                reading.named.append(entry)
            elif is_of(connector_name, entry):
                reading.elsewhere.append(Elsewhere(entry.name, entry.id))
        # A page shorter than asked for proves nothing, since the server may have a maximum of its own.
        is_last = not new if page.total_pages is None else page_number >= page.total_pages
        if is_last:
            reading.is_one_answer = page_number == 1
            return reading
    raise OutcomeUnknown(f"the account has more than {MAX_PAGES} pages of connectors")
