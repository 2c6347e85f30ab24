"""Authorisation links: a customer comes with one, and is sent on to Cyclr's page with a token minted at that moment.

And all links of a job as a CSV, for a mail merge.
"""

import asyncio
import csv
import io
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote, urlencode

from worker.cyclr.client import CyclrClient, Patience, read_patiently
from worker.cyclr.errors import CyclrError, NotFound, Refused
from worker.cyclr.exchange import Permit
from worker.cyclr.limiter import Limiter
from worker.cyclr.shapes import SignIn
from worker.intake.values import escape
from worker.intake.writing import BYTE_ORDER_MARK
from worker.settings import ACCOUNT_ID_HERE
from worker.store.desks import Desk, DeskItem, iter_waiting
from worker.store.links import Link, LinkedItem, LinkState, find_link, note_opened, take_click
from worker.store.sealing import Signer
from worker.store.session import Engine
from worker.telemetry import get_logger

PURPOSE = "authorisation link"  # what the links' signatures are good for
DONE_PATH = "/authorised"
LONGEST_TOKEN = 200
# A customer is waiting: some seconds, and then a page that says to come back.
MINT_WITHIN_S = 15.0
MINT_PATIENCE = Patience(pauses_s=(0.5, 1.0, 2.0), throttled_tries=3, away_tries=10)

OpenCyclr = Callable[[], Awaitable[tuple[CyclrClient, Limiter]]]

log = get_logger()


@dataclass(frozen=True, slots=True)
class Addresses:
    """`public_url`: where customers reach us; `service_url`: Cyclr's service domain; `username`: whom Cyclr signs in."""

    public_url: str
    service_url: str
    username: str


@dataclass(frozen=True, slots=True, repr=False)
class SentOn:
    """Where the customer's browser goes now. It holds a sign-in token: for that browser only."""

    url: str


class NotSent(StrEnum):
    """Why a click on a link that holds leads nowhere."""

    TOO_OFTEN = "too_often"
    AWAY = "away"  # Cyclr, or the limiter: later it may
    REFUSED = "refused"  # by Cyclr, for good: the account or the user


class Seen(NamedTuple):
    """How a link stands, and which connector it is for; "" where that is not known."""

    state: LinkState
    connector_name: str


class AuthorisationLinks:
    """The links of one instance. They are made from the item and its desk, and never stored."""

    def __init__(self, engine: Engine, signer: Signer, instance_id: str, addresses: Addresses) -> None:
        self._engine = engine
        self._signer = signer
        self._instance_id = instance_id
        self._addresses = addresses

    def find_url(self, desk: Desk, item: DeskItem) -> str | None:
        """The item's link; None where it does not hold (any more), or its customer has authorised."""
        if (
            desk.batch is None
            or desk.has_ended
            or item.withdrawn_at is not None
            or item.authorised_at is not None
        ):
            return None
        link = Link(desk.batch, item.item_id, item.generation, desk.expires_at)
        return f"{self._addresses.public_url}/authorise/{self._signer.sign(link.to_text())}"

    def iter_links(self, desk: Desk) -> Iterator[tuple[DeskItem, str]]:
        """All items of the job that wait and have a link, with it, in the order of the rows."""
        for item in iter_waiting(self._engine, desk.job_id):
            url = self.find_url(desk, item)
            if url is not None:
                yield item, url

    def look_at(self, token: str) -> Seen:
        """How the link of this token stands. Changes nothing."""
        _, state, item = self._find(token)
        return Seen(state, item.connector_name if item else "")

    def open(self, token: str) -> Seen:
        """As `look_at`; it is noted that somebody has opened it. Spends nothing: mail scanners do this too."""
        link, state, item = self._find(token)
        if link is not None and state is LinkState.OPEN:
            note_opened(self._engine, link)
        return Seen(state, item.connector_name if item else "")

    async def send_on(self, token: str, open_cyclr: OpenCyclr) -> SentOn | LinkState | NotSent:
        """A customer's click: where it leads. A LinkState: nowhere, since the link stands like that (never OPEN).

        Safe to repeat: each click gets a sign-in token of its own, and one that is not used ends by itself.
        """
        link, state, item = await asyncio.to_thread(self._find, token)
        if link is None or item is None or state is not LinkState.OPEN:
            return state
        if not await asyncio.to_thread(take_click, self._engine, link):
            state, _ = await asyncio.to_thread(find_link, self._engine, link)
            return NotSent.TOO_OFTEN if state is LinkState.OPEN else state
        minted = await self._mint(item, open_cyclr)
        return minted if isinstance(minted, NotSent) else SentOn(self._page_of_cyclr(item, minted))

    def _find(self, token: str) -> tuple[Link | None, LinkState, LinkedItem | None]:
        text = self._signer.find(token) if len(token) <= LONGEST_TOKEN else None
        if text is None:
            return None, LinkState.UNKNOWN, None
        link = Link.from_text(text)
        state, item = find_link(self._engine, link)
        # Another instance's customers come to its own web process.
        if item is None or item.instance_id != self._instance_id:
            return None, LinkState.UNKNOWN, None
        return link, state, item

    async def _mint(self, item: LinkedItem, open_cyclr: OpenCyclr) -> SignIn | NotSent:
        username = self._addresses.username.replace(ACCOUNT_ID_HERE, item.account_id)

        try:
            async with asyncio.timeout(MINT_WITHIN_S):
                client, limiter = await open_cyclr()

                async def mint(permit: Permit) -> SignIn:
                    return await client.mint_sign_in(permit, item.account_id, username)

                return await read_patiently(
                    client, limiter.one, mint, account_id=None, patience=MINT_PATIENCE
                )
        except (NotFound, Refused) as refusal:
            log.warning("sign_in_refused", account_id=item.account_id, reason=str(refusal))
            return NotSent.REFUSED
        except (CyclrError, TimeoutError) as error:
            log.warning(
                "sign_in_failed", account_id=item.account_id, reason=str(error) or "no answer in time"
            )
            return NotSent.AWAY

    def _page_of_cyclr(self, item: LinkedItem, minted: SignIn) -> str:
        # Source: reference section 15 B. `id` is the account connector's, whatever one page of the documentation says.
        asked = {
            "id": str(item.account_connector_id),
            "token": minted.token,
            "targetOrigin": f"{self._addresses.public_url}{DONE_PATH}",
        }
        page = f"{self._addresses.service_url}/connectorauth/updateaccountconnectoroauth"
        return f"{page}?{urlencode(asked, quote_via=quote, safe='')}"


COLUMNS = ("account_id", "name", "connector", "link", "expires_at")
ROWS_AT_ONCE = 200


def iter_mail_merge(desk: Desk, linked: Iterable[tuple[DeskItem, str]], *, delimiter: str) -> Iterator[str]:
    """The file, piece by piece; it begins with a byte order mark. `linked`: from `AuthorisationLinks.iter_links`.

    Cells that a spreadsheet would run as a formula are escaped. `delimiter`: of the job's file.
    """
    out = io.StringIO()
    out.write(BYTE_ORDER_MARK)
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    expires_at = f"{desk.expires_at:%Y-%m-%dT%H:%M:%SZ}"
    for number, (item, url) in enumerate(linked, start=1):
        cells = (item.account_id, item.name, item.connector_name, url, expires_at)
        writer.writerow([escape(cell) for cell in cells])
        if number % ROWS_AT_ONCE == 0:
            yield _emptied(out)
    yield _emptied(out)


def _emptied(out: io.StringIO) -> str:
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text
