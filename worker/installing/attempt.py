"""One attempt at one item: look if it may be there, create the account if asked, install, and say what it came to."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from worker.cyclr.client import Blame, CyclrClient
from worker.cyclr.errors import CyclrError, NameInUse, NotFound, OutcomeUnknown, Unauthorised
from worker.cyclr.looks import look
from worker.domain.comparing import differences
from worker.domain.connectors import AccountConnector
from worker.domain.options import IfPresent
from worker.domain.rows import auth_value, properties
from worker.domain.states import Code, Outcome, PauseReason
from worker.domain.steps import ACCOUNT, CONNECTOR, StepKind
from worker.domain.targets import fold
from worker.domain.verdicts import (
    CalledOff,
    GiveUp,
    Installed,
    LookFirst,
    Released,
    RetryAt,
    Verdict,
    conclude,
    is_look_only,
)
from worker.domain.words import WAITS_FOR_CREDENTIAL, WAITS_FOR_CUSTOMER, already_installed
from worker.installing.judging import Rules, judge
from worker.installing.permits import GivenBack, NoRoom, Permit, Permits
from worker.installing.releases import Fate, Releases
from worker.store.claiming import ClaimedItem
from worker.store.connectors import JobConnector

T = TypeVar("T")

ROOM_WITHIN_S = 5.0  # the claim holds for long yet: another process may take the item


class Ended(Exception):
    """The attempt is over, with this verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.verdict = verdict


class Attempt:
    """`room`: for so many attempts at a time. `notes`: what is done and sent of the item by now."""

    def __init__(
        self,
        item: ClaimedItem,
        permits: Permits,
        client: CyclrClient,
        releases: Releases,
        rules: Rules,
        *,
        room: asyncio.Semaphore,
        is_outage: Callable[[], bool],
        rng: random.Random,
    ) -> None:
        self.item = item
        self.permits = permits
        self._client = client
        self._releases = releases
        self._rules = rules
        self._room = room
        self._is_outage = is_outage
        self.notes = item.notes
        self._rng = rng
        self._may_be_there = item.must_look
        self._is_name_in_use = False

    async def run(self) -> Verdict:
        """The verdict; every failure of a call has become one. Cancelled between two calls, it gives the item back."""
        try:
            await self._wait_for_room()
            try:
                verdict = await self._steps()
            finally:
                self._room.release()
        except Ended as ended:
            verdict = ended.verdict
        except GivenBack:
            verdict = Released()
        except asyncio.CancelledError:
            if self.permits.is_calling:
                raise
            verdict = Released()
        except CyclrError as error:
            verdict = judge(
                error,
                self.permits.call_in_flight,
                self.item,
                self._rules,
                may_be_there=CONNECTOR if self._may_be_there else None,
                is_outage=self._is_outage(),
                rng=self._rng,
            )
        return self._concluded(verdict)

    async def _wait_for_room(self) -> None:
        """Items are claimed a little ahead of the room for their calls. Raises: NoRoom."""
        try:
            async with asyncio.timeout(ROOM_WITHIN_S):
                await self._room.acquire()
        except TimeoutError:
            raise NoRoom from None

    def _concluded(self, verdict: Verdict) -> Verdict:
        if self._is_name_in_use:
            verdict = _with_a_look(verdict)
        return conclude(
            verdict,
            attempts=self.item.attempts,
            max_attempts=self._rules.max_attempts,
            must_look=self.item.must_look,
            step=CONNECTOR,
        )

    async def _steps(self) -> Verdict:
        item = self.item
        if item.secrets is None and not item.must_look:
            return self._credential_lost()
        may_install = not (item.is_called_off or self._is_last_look() or item.secrets is None)
        is_empty = await self._ensure_account(may_create=may_install)
        connector = await self._connector(for_install=may_install)
        if not is_empty and (item.must_look or item.options.looks_first):
            there = await self._look(connector)
            if there is not None:
                return there
        self._may_be_there = False
        return await self._install(connector) if may_install else self._absent()

    async def _ensure_account(self, *, may_create: bool) -> bool:
        """Whether the account is surely empty: it was created just now, or does not exist and may not be created."""
        item = self.item
        if item.account is None or self.notes.account_exists:
            return False
        if not may_create:
            return not await self._account_exists()
        account = item.account

        async def create() -> bool:
            permit = await self.permits.next(ACCOUNT)
            return await self._client.create_account(permit, item.account_id, account)

        is_new = await self._with_a_good_token(create)
        self.notes = replace(
            self.notes,
            account_exists=True,
            account_created=self.notes.account_created or is_new,
            steps_done=(*self.notes.steps_done, ACCOUNT.name),
        )
        return is_new

    async def _connector(self, *, for_install: bool) -> JobConnector:
        # Before the look, not after it: between an absence and its install nothing else is asked.
        connector = await self._releases.get(self.item.connector_id)
        if for_install and connector.is_stale:
            await self._renew(connector)
            return await self._releases.get(self.item.connector_id)
        return connector

    async def _renew(self, connector: JobConnector) -> Fate:
        try:
            fate = await self._releases.renew(connector, self.item.account_id, self._permit("connector"))
        except NotFound:
            await self._end_if_account_is_gone()
            raise
        if fate is Fate.UNFIT:
            reason = f"the connector {connector.name} has a new release that the rows do not fit, or is gone"
            pause = PauseReason.RELEASE_CHANGED
            raise Ended(RetryAt(0, Code.CONNECTOR_GONE, reason, costs_attempt=False, pause=pause))
        return fate

    async def _look(self, connector: JobConnector) -> Verdict | None:
        """The verdict if the target is there; None if a look has shown it absent."""
        item = self.item
        try:
            seen = await self._with_a_good_token(
                lambda: look(
                    self._client,
                    self._permit("look"),
                    item.account_id,
                    name=item.name,
                    connector_name=connector.name,
                )
            )
        except NotFound:
            await self._end_if_account_is_gone()
            raise
        if seen.found is not None:
            if fold(seen.found.connector_name) == fold(connector.name):
                return self._found(seen.found)
            message = f"the Name {item.name!r} is taken in this account by another connector, {seen.found.connector_name!r}"
            return GiveUp(Code.NAME_IN_USE, message)
        if item.options.if_present is IfPresent.SKIP and seen.same_connector_elsewhere:
            names = ", ".join(repr(name) for name in seen.same_connector_elsewhere[:5])
            message = f"left alone: the account has this connector under the Name {names}"
            return Installed(Outcome.ADOPTED, None, None, code=Code.PRESENT_UNDER_OTHER_NAME, message=message)
        return None

    def _found(self, found: AccountConnector) -> Installed:
        # `maybe_sent`: something of this row may have reached Cyclr before, so what is there is taken to be ours.
        outcome = Outcome.RECOVERED if self.item.maybe_sent else Outcome.ADOPTED
        differing = differences(found, self.item.secrets or {}, self.item.description)
        message = already_installed(differing) if outcome is Outcome.ADOPTED or differing else None
        return Installed(outcome, found.id, found.is_authenticated, differing, message=message)

    async def _install(self, connector: JobConnector) -> Verdict:
        item = self.item
        body = _install_body(item, connector)

        async def send() -> AccountConnector:
            permit = await self.permits.next(CONNECTOR)
            return await self._client.install(permit, item.account_id, connector.release_id, body)

        try:
            created = await self._with_a_good_token(send)
        except NameInUse as refusal:
            return await self._after_name_in_use(connector, refusal)
        except NotFound:
            return await self._after_not_found(connector)
        waits_for = (
            WAITS_FOR_CUSTOMER if connector.asks_customer(item.authentication_id) else WAITS_FOR_CREDENTIAL
        )
        message = None if created.is_authenticated else waits_for
        return Installed(Outcome.CREATED, created.id, created.is_authenticated, message=message)

    async def _after_name_in_use(self, connector: JobConnector, refusal: NameInUse) -> Verdict:
        # Whatever stops us now: an earlier call of ours may have put it there, so the next attempt looks too.
        self._is_name_in_use = self._may_be_there = True
        there = await self._look(connector)
        if there is None or (isinstance(there, Installed) and there.code):
            return GiveUp(Code.NAME_IN_USE, refusal.message, refusal.status)
        return there

    async def _after_not_found(self, connector: JobConnector) -> Verdict:
        await self._end_if_account_is_gone()
        if await self._renew(connector) is Fate.SAME:
            message = f"Cyclr does not find the connector {connector.name} for this account, though its catalogue lists it"
            return GiveUp(Code.CONNECTOR_GONE, message, 404)
        # In an attempt of its own, since an absence allows one install only.
        reason = f"Cyclr has a new release of the connector {connector.name}"
        return RetryAt(0, Code.CONNECTOR_GONE, reason, 404, costs_attempt=False)

    async def _end_if_account_is_gone(self) -> None:
        if not await self._account_exists():
            raise Ended(self._account_unknown())

    async def _account_exists(self) -> bool:
        async def ask() -> bool:
            permit = await self.permits.next("account")
            return await self._client.find_account(permit, self.item.account_id)

        return await self._with_a_good_token(ask)

    async def _with_a_good_token(self, make_call: Callable[[], Awaitable[T]]) -> T:
        """The call's answer. A 401 may be about the token or the account: what it was is found out with the same token.

        Raises: Ended with `account_unknown` or `account_refused`; CredentialsRefused.
        """
        has_renewed = has_repeated = False
        while True:
            try:
                return await make_call()
            except Unauthorised as refusal:
                refused_call = self.permits.last_call
                permit = await self.permits.next("account")
                match await self._client.blame(permit, self.item.account_id, refusal):
                    case Blame.TOKEN if has_renewed:
                        raise OutcomeUnknown(
                            "Cyclr refuses a token that it has only just given", 401
                        ) from None
                    case Blame.TOKEN:
                        has_renewed = True
                    case Blame.ACCOUNT_UNKNOWN if refused_call is not ACCOUNT:
                        raise Ended(self._account_unknown()) from None
                    case _ if has_repeated:
                        raise Ended(self._account_refused()) from None
                    case _:
                        has_repeated = True

    def _permit(self, call: StepKind | str) -> Callable[[], Awaitable[Permit]]:
        return lambda: self.permits.next(call)

    def _is_last_look(self) -> bool:
        return is_look_only(
            attempts=self.item.attempts, max_attempts=self._rules.max_attempts, must_look=self.item.must_look
        )

    def _absent(self) -> Verdict:
        if self.item.is_called_off:
            return CalledOff()
        if self.item.secrets is None:
            return self._credential_lost()
        message = f"not installed: Cyclr gave no clear answer in {self.item.attempts} attempts, and a look found nothing"
        return GiveUp(Code.NO_ANSWER, message, can_retry_help=True)

    def _account_unknown(self) -> GiveUp:
        return GiveUp(Code.ACCOUNT_UNKNOWN, f"Cyclr has no account {self.item.account_id}", 404)

    def _account_refused(self) -> GiveUp:
        message = "Cyclr's token is good, and it refuses every call for this account (status 401)"
        if self._may_be_there:
            return GiveUp(Code.OUTCOME_UNKNOWN, f"may be installed: {message}", 401, is_absent=False)
        return GiveUp(Code.ACCOUNT_REFUSED, message, 401)

    def _credential_lost(self) -> GiveUp:
        message = "the row's sealed data cannot be opened: its key is not configured, or it is wiped"
        return GiveUp(Code.CREDENTIAL_LOST, message)


def _with_a_look(verdict: Verdict) -> Verdict:
    """The verdict of an attempt that was told that its Name is in use and could not end its look."""
    if isinstance(verdict, Released):
        return LookFirst(0, Code.NAME_IN_USE, "the Name is in use", costs_attempt=False, maybe_sent=False)
    if isinstance(verdict, RetryAt):
        return LookFirst(
            verdict.after_s,
            verdict.code,
            verdict.reason,
            verdict.http_status,
            costs_attempt=verdict.costs_attempt,
            maybe_sent=False,
            pause=verdict.pause,
        )
    return verdict


def _install_body(item: ClaimedItem, connector: JobConnector) -> dict[str, Any]:
    """The body of the install call. The Name is always sent, and always the same for the item."""
    secrets = item.secrets or {}
    body: dict[str, Any] = {"Name": item.name}
    if item.description is not None:
        body["Description"] = item.description
    method_id = connector.method_id(item.authentication_id)
    if method_id is not None:
        body["AuthenticationId"] = method_id
    value = auth_value(secrets)
    if value is not None:
        body["AuthValue"] = value
    body["Properties"] = [{"Name": name, "Value": value} for name, value in properties(secrets).items()]
    return body
