"""A look: is a connector installed in an account under a Name? What it calls absent may be installed, once."""

import asyncio
from dataclasses import dataclass, field

from worker.cyclr.client import CyclrClient
from worker.cyclr.errors import OutcomeUnknown
from worker.cyclr.exchange import NextPermit
from worker.domain.connectors import AccountConnector
from worker.domain.targets import fold

MAX_READINGS = 6
MAX_PAGES = 200
_COMPARED_AT_ONCE = 20  # names that were made for it take a millisecond each


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look has shown. `found`: the account connector of that Name, of whatever connector; None: there is none.

    `same_connector_elsewhere`: the other Names under which the connector is installed, `highest_id`: the highest Id of all,
    0 where there is none: as far as they were read.
    """

    found: AccountConnector | None
    same_connector_elsewhere: tuple[str, ...]
    highest_id: int


async def look(
    client: CyclrClient, next_permit: NextPermit, account_id: str, *, name: str, connector_name: str
) -> Finding:
    """What the account holds under this Name. Each page takes a permit of its own.

    Where two account connectors have the Name, the one of this connector is given. Safe to repeat.
    Raises: OutcomeUnknown where the list never stands still; the errors of a call.
    """
    earlier: set[int] | None = None
    for _ in range(MAX_READINGS):
        reading = await _read(client, next_permit, account_id, name, connector_name)
        # Presence counts at once. Absence does where one answer held the whole list: nothing could move meanwhile.
        if reading.found or reading.is_one_answer or (reading.ids == earlier and not reading.has_moved):
            return Finding(reading.found, tuple(reading.elsewhere), max(reading.ids, default=0))
        # A list that changes while it is read can hide an entry between two pages, so it must read the same twice.
        # One that showed an entry twice has moved while it was read: where it moves on alike, it reads the same too.
        earlier = None if reading.has_moved else reading.ids
    raise OutcomeUnknown(f"the account's connectors changed during each of {MAX_READINGS} readings")


@dataclass(slots=True)
class _Reading:
    """`has_moved`: an entry stood on two pages, or the pages were more or fewer than before, so another one may have stood on
    none."""

    ids: set[int] = field(default_factory=set)
    found: AccountConnector | None = None
    elsewhere: list[str] = field(default_factory=list)
    is_one_answer: bool = False
    has_moved: bool = False


async def _read(
    client: CyclrClient, next_permit: NextPermit, account_id: str, name: str, connector_name: str
) -> _Reading:
    """All pages once, up to the one that shows the very target."""
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
            # By the connector's name: its id is that of a release, and changes with an upgrade.
            is_same_connector = fold(entry.connector_name) == fold(connector_name)
            if fold(entry.name) == fold(name):
                if is_same_connector or reading.found is None:
                    reading.found = entry
                if is_same_connector:
                    return reading
            elif is_same_connector:
                reading.elsewhere.append(entry.name)
        # A page shorter than asked for proves nothing, since the server may have a maximum of its own.
        is_last = not new if page.total_pages is None else page_number >= page.total_pages
        if is_last:
            reading.is_one_answer = page_number == 1
            return reading
    raise OutcomeUnknown(f"the account has more than {MAX_PAGES} pages of connectors")
