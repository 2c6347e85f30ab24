"""The connectors of the jobs in hand: which release to install, and what to do when Cyclr has published a new one."""

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import Any

from worker.cyclr.catalogue import CatalogueReader
from worker.cyclr.client import CyclrClient
from worker.cyclr.errors import GateClosed
from worker.cyclr.exchange import NextPermit
from worker.cyclr.patience import Patience
from worker.domain.connectors import Connector, ConnectorRef
from worker.store.connectors import JobConnector, fit, get_connector, put_release
from worker.store.session import Engine

InThread = Callable[..., Awaitable[Any]]


async def _give_back(seconds: float) -> None:
    if seconds > 0:
        raise GateClosed(seconds)


# An item in hand must not wait for what passes: its claim would run out. The retry table says when it is tried again.
_IMPATIENT = Patience(pauses_s=(), throttled_tries=0, away_tries=0, sleep=_give_back)


class Fate(enum.Enum):
    """What became of a release that Cyclr does not know any more."""

    REPLACED = "replaced by one that the rows fit"
    SAME = "still the one in the catalogue"
    UNFIT = "gone, or replaced by one that the rows do not fit"


class Releases:
    """The job connectors that this run has seen; each is asked for once, whoever needs it first."""

    def __init__(self, engine: Engine, client: CyclrClient, in_thread: InThread) -> None:
        self._engine = engine
        self._client = client
        self._in_thread = in_thread
        self._known: dict[int, JobConnector] = {}
        self._turns: dict[int, asyncio.Lock] = {}

    async def get(self, connector_id: int) -> JobConnector:
        """The connector as the database has it."""
        turn = self._turn(connector_id)
        if connector_id in self._known and not turn.locked():
            return self._known[connector_id]
        async with turn:
            if connector_id not in self._known:
                await self._load(connector_id)
            return self._known[connector_id]

    async def renew(self, connector: JobConnector, account_id: str, next_permit: NextPermit) -> Fate:
        """Ask the catalogue again, as `account_id` sees it, unless another attempt has done so since `connector` was got.

        Raises: CyclrError where the catalogue cannot be read.
        """
        async with self._turn(connector.id):
            current = self._known[connector.id]
            if current is not connector and not current.is_stale:
                return Fate.SAME if current.release_id == connector.release_id else Fate.REPLACED
            ref = ConnectorRef(connector.name, connector.version)
            # The version is Cyclr's own by now, whatever the file called it.
            catalogue = CatalogueReader(self._client, next_permit, _IMPATIENT)
            found = await catalogue.resolve(account_id, ref, is_as_written=True)
            if not isinstance(found, Connector):
                return Fate.UNFIT
            renamed = fit(connector.definition, found)
            if renamed is None:
                return Fate.UNFIT
            await self._in_thread(put_release, self._engine, connector.id, found.release_id, renamed)
            await self._load(connector.id)
            return Fate.SAME if found.release_id == connector.release_id else Fate.REPLACED

    async def _load(self, connector_id: int) -> None:
        self._known[connector_id] = await self._in_thread(get_connector, self._engine, connector_id)

    def _turn(self, connector_id: int) -> asyncio.Lock:
        return self._turns.setdefault(connector_id, asyncio.Lock())
