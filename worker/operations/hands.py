"""What a step works with: the calls of one attempt, each with a good token, what they have shown, and the jobs' connectors."""

import asyncio
import enum
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from worker.cyclr.catalogue import CatalogueReader
from worker.cyclr.client import Blame, CyclrClient, Patience
from worker.cyclr.errors import CyclrError, GateClosed, NotFound, OutcomeUnknown, Unauthorised
from worker.cyclr.exchange import NextPermit, Permit
from worker.cyclr.looks import Elsewhere, Finding, look
from worker.domain.comparing import fields_of
from worker.domain.connectors import AccountConnector, Connector, ConnectorRef
from worker.domain.states import Code, PauseReason
from worker.domain.steps import CONNECTOR, STEPS, Notes, StepKind
from worker.domain.verdicts import GiveUp, RetryAt, Verdict
from worker.operations.overwritten import Overwritten
from worker.store.claiming import ClaimedItem
from worker.store.connectors import JobConnector, fit, get_connector, put_release
from worker.store.neighbours import has_made_by_method, list_ours
from worker.store.sealing import Sealer
from worker.store.session import Engine

T = TypeVar("T")


InThread = Callable[..., Awaitable[Any]]
Noting = Callable[[Notes], Notes]


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


class AttemptEnded(Exception):
    """The attempt is over, with this verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.verdict = verdict


class Calling(Protocol):
    """What an attempt does for the calls of its steps. `notes`: what is done and sent of its item by now."""

    notes: Notes

    async def next_permit(self, call: StepKind | str, noting: Noting | None = None) -> Permit:
        """For one call. A step is noted as sent before its permit is given, with what `noting` adds."""

    def note_unsent(self) -> None:
        """Cyclr has surely not done what the last call asked for."""


class Neighbours:
    """What our own rows have in the accounts of others."""

    def __init__(self, engine: Engine, in_thread: InThread) -> None:
        self._engine = engine
        self._in_thread = in_thread

    async def list_ours(self, item: ClaimedItem, names: Mapping[int, str]) -> set[int]:
        ours: set[int] = await self._in_thread(list_ours, self._engine, item, names)
        return ours

    async def has_made_by_method(self, item: ClaimedItem, account_connector_id: int) -> bool:
        return bool(await self._in_thread(has_made_by_method, self._engine, item, account_connector_id))


class Hands:
    """`may_act`: whether anything may be changed. `may_be_there`: the step that an earlier call may have done, where no look
    has shown that it did not. `is_new_account`: this attempt has made the account, so nothing is in it.

    `asked`: what the row asks of the account connector: field -> value. `shown`: that as it was shown last; `is_ours`: this
    item has made it; `has_looked`: a call that only reads has shown it. `overwritten`: what the item's calls put something else
    in the place of. `times_set`: field -> how often it was set in this attempt.
    """

    def __init__(
        self,
        item: ClaimedItem,
        calling: Calling,
        client: CyclrClient,
        releases: Releases,
        neighbours: Neighbours,
        sealer: Sealer,
        *,
        may_act: bool,
        may_be_there: StepKind | None,
    ) -> None:
        self.item = item
        self.client = client
        self.may_act = may_act
        self.may_be_there = may_be_there
        self.is_new_account = False
        self.is_name_in_use = False
        self.finding: Finding | None = None
        self.asked = {} if item.secrets is None else fields_of(item.secrets, item.description)
        self.shown: AccountConnector | None = None
        self.is_ours = False
        self.has_looked = False
        self.overwritten = Overwritten(item, sealer)
        self.times_set: Counter[str] = Counter()
        self._calling = calling
        self._connector: JobConnector | None = None
        self._releases = releases
        self._neighbours = neighbours

    @property
    def notes(self) -> Notes:
        return self._calling.notes

    async def send(
        self, step: StepKind, make_call: Callable[[Permit], Awaitable[T]], noting: Noting | None = None
    ) -> T:
        """The answer to the one call that this step is. `noting`: what is written down before it, beside that it is sent."""

        async def once() -> T:
            try:
                return await make_call(await self._calling.next_permit(step, noting))
            except CyclrError as error:
                if error.did_not_act:
                    self._calling.note_unsent()
                raise

        return await self._with_a_good_token(once, step)

    async def account_exists(self) -> bool:
        async def ask() -> bool:
            return await self.client.find_account(
                await self._calling.next_permit("account"), self.item.account_id
            )

        return await self._with_a_good_token(ask, "account")

    async def end_if_account_is_gone(self) -> None:
        """Raises: AttemptEnded."""
        if not await self.account_exists():
            raise AttemptEnded(self._account_unknown())

    async def connector(self) -> JobConnector:
        """The release to be used, asked for again where it is not known to be the last."""
        # Before the look, not after it: between an absence and its install nothing else is asked.
        if self._connector is None:
            connector = await self._releases.get(self.item.connector_id)
            if self.may_act and connector.is_stale and CONNECTOR in STEPS[self.item.operation]:
                await self.renew(connector)
                connector = await self._releases.get(self.item.connector_id)
            self._connector = connector
        return self._connector

    async def renew(self, connector: JobConnector) -> Fate:
        """Raises: AttemptEnded where the rows fit no release any more, or the account is gone."""
        try:
            fate = await self._releases.renew(
                connector, self.item.account_id, lambda: self._calling.next_permit("connector")
            )
        except NotFound:
            await self.end_if_account_is_gone()
            raise
        if fate is Fate.UNFIT:
            reason = f"the connector {connector.name} has a new release that the rows do not fit, or is gone"
            pause = PauseReason.RELEASE_CHANGED
            raise AttemptEnded(RetryAt(0, Code.CONNECTOR_GONE, reason, costs_attempt=False, pause=pause))
        return fate

    async def look(self, connector: JobConnector, *, anew: bool = False) -> Finding:
        """What the account holds under the item's Name. One look serves all steps of the attempt. Where an install of the item
        may have gone out, an absence is proven."""
        if self.finding is None or anew:
            try:
                self.finding = await self._with_a_good_token(lambda: self._look(connector), "look")
            except NotFound:
                await self.end_if_account_is_gone()
                raise
            self.has_looked = True
        return self.finding

    async def show(self, account_connector_id: int) -> AccountConnector | None:
        """The account connector of this id; None where the account has none."""

        async def ask() -> AccountConnector:
            permit = await self._calling.next_permit("look")
            return await self.client.get_account_connector(permit, self.item.account_id, account_connector_id)

        try:
            shown = await self._with_a_good_token(ask, "look")
        except NotFound:
            return None  # or the account is gone, as a look at its list shows
        self.has_looked = True
        return shown

    async def list_ours(self, entries: Iterable[Elsewhere]) -> set[int]:
        """The ids of those that rows of ours have, or have made."""
        return await self._neighbours.list_ours(self.item, {entry.id: entry.name for entry in entries})

    async def has_made_by_method(self, account_connector_id: int) -> bool:
        """Whether a row of ours has installed it, by the method of this one."""
        return await self._neighbours.has_made_by_method(self.item, account_connector_id)

    def _look(self, connector: JobConnector) -> Awaitable[Finding]:
        return look(
            self.client,
            lambda: self._calling.next_permit("look"),
            self.item.account_id,
            name=self.item.name,
            connector_name=connector.name,
            is_strict=self.may_be_there is not None
            or CONNECTOR.name in (*self.notes.steps_done, self.notes.sent),
        )

    async def _with_a_good_token(self, make_call: Callable[[], Awaitable[T]], call: StepKind | str) -> T:
        """The call's answer. A 401 may be about the token or the account: what it was is found out with the same token.

        Raises: AttemptEnded with `account_unknown` or `account_refused`; CredentialsRefused.
        """
        has_renewed = has_repeated = False
        while True:
            try:
                return await make_call()
            except Unauthorised as refusal:
                permit = await self._calling.next_permit("account")
                match await self.client.blame(permit, self.item.account_id, refusal):
                    case Blame.TOKEN if has_renewed:
                        raise OutcomeUnknown(
                            "Cyclr refuses a token that it has only just given", 401
                        ) from None
                    case Blame.TOKEN:
                        has_renewed = True
                    # An account that is to be made is unknown until then.
                    case Blame.ACCOUNT_UNKNOWN if not _makes_the_account(call):
                        raise AttemptEnded(self._account_unknown()) from None
                    case _ if has_repeated:
                        raise AttemptEnded(self._account_refused()) from None
                    case _:
                        has_repeated = True

    def _account_unknown(self) -> GiveUp:
        return GiveUp(Code.ACCOUNT_UNKNOWN, f"Cyclr has no account {self.item.account_id}", 404)

    def _account_refused(self) -> GiveUp:
        message = "Cyclr's token is good, and it refuses every call for this account (status 401)"
        if self.may_be_there is not None:
            text = f"{self.may_be_there.may_be}: {message}"
            return GiveUp(Code.OUTCOME_UNKNOWN, text, 401, is_absent=False)
        return GiveUp(Code.ACCOUNT_REFUSED, message, 401)


def _makes_the_account(call: StepKind | str) -> bool:
    return isinstance(call, StepKind) and call.is_before_target
