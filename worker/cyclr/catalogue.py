"""What intake asks Cyclr before anything is installed: connectors and accounts. Nothing here changes anything there."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, TypeVar

from worker.cyclr.answers import Page
from worker.cyclr.client import PATIENCE, CyclrClient, Patience, read_patiently
from worker.cyclr.errors import NotFound, OutcomeUnknown, Refused
from worker.cyclr.exchange import NextPermit, Permit
from worker.domain.accounts import ListedAccount
from worker.domain.connectors import Connector, ConnectorRef, DoubtedVersion
from worker.domain.targets import fold

T = TypeVar("T")

MAX_PAGES = 1_000
MAX_ENTRIES = 1_000_000  # of all pages together
_ACCOUNTS_ASKED_AT_ONCE = 20
_NAMES_SHOWN = 5
_COMPARED_AT_ONCE = 20  # names that were made for it take a millisecond each
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


class CatalogueReader:
    """Reads connectors and accounts of one Cyclr. `next_permit`: for each of its calls.

    Whatever passes is gone through, as `read_patiently` does, and the errors are those that it raises.
    """

    def __init__(self, client: CyclrClient, next_permit: NextPermit, patience: Patience = PATIENCE) -> None:
        self._client = client
        self._next_permit = next_permit
        self._patience = patience

    async def resolve(
        self, account_id: str, ref: ConnectorRef, *, is_as_written: bool = False
    ) -> Connector | DoubtedVersion | str:
        """The release to install for this id, name, or name and version; or, for people, why there is none.

        `account_id`: any account that exists, since the catalogue is read in the name of one. `is_as_written`: the version
        was not made by a spreadsheet, which writes 3.0 as 3 and 1.10 as 1.1. Where it may have been, and another version is as
        good as the one that is named, the answer is a `DoubtedVersion`.
        """
        is_doubted = ref.version is not None and not is_as_written and _is_shortest(ref.version)
        candidates = await self._candidates(account_id, ref, has_all=is_doubted)
        if not candidates:
            return f"no connector {ref} in Cyclr's catalogue: check its name there"
        if ref.version is not None:
            fitting = [c for c in candidates if fold(c.version or "") == fold(ref.version)]
            same = [c for c in candidates if is_same_number(c.version or "", ref.version)]
            if is_doubted and len({c.version for c in (*fitting, *same)}) > 1:
                reason = _which_version(ref, same)
                # Taken as written it has to name one of them.
                return DoubtedVersion(reason) if fitting else reason
            fitting = fitting or ([] if is_as_written else same)
            if not fitting:
                return (
                    f"connector {ref.name_or_id} has no version {ref.version}; it has {_versions(candidates)}"
                )
            candidates = fitting
        released = [c for c in candidates if not c.is_draft]
        if not released:
            return f"connector {ref} is a draft, which Cyclr does not install"
        if len({fold(c.version or "") for c in released}) > 1:
            return f"connector {ref} has several versions: {_versions(released)}; name one in column connector_version"
        return max(released, key=lambda c: c.release_id)

    async def iter_connectors(self, account_id: str, query: str | None = None) -> AsyncIterator[Connector]:
        """The whole catalogue as the account sees it, each release once. `query`: Cyclr's own match on names."""

        async def page(permit: Permit, number: int) -> Page[Connector]:
            return await self._client.list_connectors(permit, account_id, number, query)

        def release_id(connector: Connector) -> int:
            return connector.release_id

        async for connector in self._iter_all(page, release_id, "the catalogue", account_id=account_id):
            yield connector

    async def first_account(self) -> str | None:
        """The id of some account of the partner; None where there is none."""
        page = await self._read(lambda permit: self._client.list_accounts(permit, 1), account_id=None)
        return next((account.id for account in page.items), None)

    async def iter_accounts(self) -> AsyncIterator[ListedAccount]:
        """The partner's accounts, each once, as Cyclr lists them; sub-accounts may be missing: `iter_sub_accounts`."""
        async for account in self._iter_accounts(self._client.list_accounts, "the list of accounts"):
            yield account

    async def iter_sub_accounts(self, account: ListedAccount) -> AsyncIterator[ListedAccount]:
        """Those of the account, each with it as the parent; none where it is gone by now. A call at least."""

        async def page(permit: Permit, number: int) -> Page[ListedAccount]:
            return await self._client.list_sub_accounts(permit, account.id, number)

        try:
            async for each in self._iter_accounts(page, f"the list of sub-accounts of {account.id}"):
                yield replace(each, parent_id=account.id)
        except NotFound:
            return

    async def missing_accounts(
        self,
        wanted: AbstractSet[str],
        on_page: Callable[[int, int | None], None] = lambda page, total_pages: None,
        *,
        on_ids: Callable[[Sequence[str]], None] = lambda account_ids: None,
        is_whole: bool = False,
    ) -> frozenset[str]:
        """Which of these accounts Cyclr does not have.

        `on_page`: told the number of each page of accounts read, and of how many where that is known. `on_ids`: told the ids
        on it. An account that is not on the list is asked for by its id, since the list may leave out sub-accounts.
        `is_whole`: read the list to its end, even when all are found.
        """
        unlisted = set(wanted)
        # By their hashes, which are short: that only says whether a page brings anything.
        seen: set[int] = set()
        for number in range(1, MAX_PAGES + 1):
            if not (unlisted or is_whole):
                break

            async def read(permit: Permit, number: int = number) -> Page[ListedAccount]:
                return await self._client.list_accounts(permit, number)

            page = await self._read(read, account_id=None)
            account_ids = [account.id for account in page.items]
            hashes = frozenset(map(hash, account_ids))
            has_new = not seen.issuperset(hashes)
            seen.update(hashes)
            unlisted.difference_update(account_ids)
            on_ids(account_ids)
            on_page(number, page.total_pages)
            if _is_last(page, number, has_new=has_new) or len(seen) > MAX_ENTRIES:
                break
        return frozenset(await self._missing_of(sorted(unlisted)))

    async def _iter_accounts(
        self, list_page: Callable[[Permit, int], Awaitable[Page[ListedAccount]]], what: str
    ) -> AsyncIterator[ListedAccount]:
        def id_of(account: ListedAccount) -> str:
            return account.id

        async for account in self._iter_all(list_page, id_of, what, account_id=None):
            yield account

    async def _iter_all(
        self,
        list_page: Callable[[Permit, int], Awaitable[Page[T]]],
        id_of: Callable[[T], Hashable],
        what: str,
        *,
        account_id: str | None,
    ) -> AsyncIterator[T]:
        """What stands on the pages of a list, each once. Raises: OutcomeUnknown for a list without an end."""
        seen: set[Hashable] = set()
        for number in range(1, MAX_PAGES + 1):

            async def read(permit: Permit, number: int = number) -> Page[T]:
                return await list_page(permit, number)

            page = await self._read(read, account_id=account_id)
            if len(seen) > MAX_ENTRIES:
                break
            new = {id_of(item): item for item in reversed(page.items) if id_of(item) not in seen}
            seen.update(new)
            for item in reversed(new.values()):
                yield item
            if _is_last(page, number, has_new=bool(new)):
                return
        # To take a part for all of it would be to say that the others do not exist.
        raise OutcomeUnknown(f"{what} has no end")

    async def _candidates(
        self,
        account_id: str,
        ref: ConnectorRef,
        *,
        has_all: bool,
    ) -> list[Connector]:
        """All releases of the name (or the one of the id) that Cyclr shows; unless `has_all`, of the version, if it has that one."""
        if ref.release_id is not None:
            of_id = await self._by_path(account_id, ConnectorRef(ref.name_or_id))
            return [c for c in of_id if c.release_id == ref.release_id]
        by_name = ConnectorRef(ref.name_or_id)
        # Without the version too, so that the message can name those there are.
        found: dict[int, Connector] = {}
        for asked in [by_name] if ref.version is None else [ref, by_name]:
            answered = await self._by_path(account_id, asked)
            # Cyclr's match on names may be wider than ours.
            found |= {c.release_id: c async for c in _called(ref.name_or_id, answered)}
            if found and not has_all:
                break
        if found:
            return list(found.values())
        listed = self.iter_connectors(account_id, ref.name_or_id)
        every = [c async for c in listed]
        return [c async for c in _called(ref.name_or_id, every)]

    async def _by_path(self, account_id: str, ref: ConnectorRef) -> tuple[Connector, ...]:
        try:
            return await self._read(
                lambda permit: self._client.get_connectors(permit, account_id, ref), account_id=account_id
            )
        except Refused as refused:
            # A server may refuse a path that holds certain characters, percent-encoded or not.
            if refused.status != 400:
                raise
        return ()

    async def _missing_of(self, account_ids: Iterable[str]) -> list[str]:
        """Those that Cyclr does not have, asked some at a time: the limiter sets the pace, not the latency."""
        found: list[str] = []
        remaining = iter(account_ids)

        async def work() -> None:
            for account_id in remaining:
                if not await self._account_exists(account_id):
                    found.append(account_id)

        tasks = [asyncio.create_task(work()) for _ in range(_ACCOUNTS_ASKED_AT_ONCE)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return found

    async def _account_exists(self, account_id: str) -> bool:
        try:
            return await self._read(
                lambda permit: self._client.find_account(permit, account_id), account_id=None
            )
        except Refused as refused:
            if refused.status != 400:
                raise
            return False  # an id that Cyclr cannot even read

    async def _read(self, call: Callable[[Permit], Awaitable[T]], *, account_id: str | None) -> T:
        return await read_patiently(
            self._client, self._next_permit, call, account_id=account_id, patience=self._patience
        )


def is_same_number(version: str, other: str) -> bool:
    """Whether a spreadsheet takes both for the same number: `3.0` and `3`, `1.10` and `1.1`, with a comma too."""
    both = [_NUMBER.fullmatch(text.strip()) for text in (version, other)]
    return all(both) and len({_shortened(text) for text in (version, other)}) == 1


def _shortened(version: str) -> str:
    """The number as a spreadsheet writes it."""
    whole, _, fraction = version.strip().replace(",", ".").partition(".")
    fraction = fraction.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")


def _is_shortest(version: str) -> bool:
    """Whether a spreadsheet may have written it: a number, and none that it writes ends in a zero behind the point."""
    text = version.strip()
    return _NUMBER.fullmatch(text) is not None and _shortened(text) == text.replace(",", ".")


def _which_version(ref: ConnectorRef, same: Iterable[Connector]) -> str:
    ids = ", ".join(f"{c.version} (id {c.release_id})" for c in sorted(same, key=lambda c: c.release_id))
    return (
        f"connector {ref.name_or_id} has versions that a spreadsheet takes for the same number, {ids}: write the id of one "
        "into the column connector and leave connector_version empty"
    )


async def _called(name: str, connectors: Iterable[Connector]) -> AsyncIterator[Connector]:
    """Those of this name."""
    folded = fold(name)
    for number, each in enumerate(connectors, start=1):
        if number % _COMPARED_AT_ONCE == 0:
            await asyncio.sleep(0)
        if fold(each.name) == folded:
            yield each


def _is_last(page: Page[Any], number: int, *, has_new: bool) -> bool:
    # A page of nothing new is the last one, whatever the list says of how many it has.
    return not has_new or (page.total_pages is not None and number >= page.total_pages)


def _versions(connectors: Iterable[Connector]) -> str:
    versions = sorted({c.version or "none" for c in connectors})
    more = f" and {len(versions) - _NAMES_SHOWN} more" if len(versions) > _NAMES_SHOWN else ""
    return ", ".join(versions[:_NAMES_SHOWN]) + more
