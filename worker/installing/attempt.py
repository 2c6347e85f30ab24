"""One attempt at one item: look if it may be there, create the account if asked, install, and say what it came to."""

import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from worker.cyclr.client import Blame, CyclrClient
from worker.cyclr.errors import CyclrError, NameInUse, NotFound, OutcomeUnknown, Unauthorised
from worker.cyclr.looks import look
from worker.domain.comparing import already_installed, differences
from worker.domain.connectors import AccountConnector
from worker.domain.rows import auth_value, properties
from worker.domain.states import Code, Outcome, PauseReason
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
from worker.installing.judging import Call, Rules, judge
from worker.installing.permits import Permit, Permits
from worker.installing.releases import Fate, Releases
from worker.store.claiming import ClaimedItem
from worker.store.connectors import JobConnector

T = TypeVar("T")


class Ended(Exception):
    """The attempt is over, with this verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.verdict = verdict


class Attempt:
    def __init__(
        self,
        item: ClaimedItem,
        permits: Permits,
        client: CyclrClient,
        releases: Releases,
        rules: Rules,
        *,
        is_outage: Callable[[], bool],
        note_account: Callable[[bool], Any],
        rng: random.Random,
    ) -> None:
        self.item = item
        self.permits = permits
        self._must_look_next = False
        self._client = client
        self._releases = releases
        self._rules = rules
        self._is_outage = is_outage
        self._note_account = note_account
        self._rng = rng

    async def run(self) -> Verdict:
        """The verdict; every failure of a call has become one. Cancelled between two calls it still gives one."""
        item = self.item
        try:
            verdict = await self._steps()
        except Ended as ended:
            verdict = ended.verdict
        except CyclrError as error:
            is_outage = self._is_outage()
            verdict = judge(
                error, self.permits.call_in_flight, item, self._rules, is_outage=is_outage, rng=self._rng
            )
        return self._conclude(verdict)

    def verdict_if_stopped(self) -> Verdict:
        """What holds when the attempt is cut short between two calls."""
        return self._conclude(Released())

    def _conclude(self, verdict: Verdict) -> Verdict:
        item = self.item
        if self._must_look_next and isinstance(verdict, Released):
            verdict = LookFirst(
                0, Code.NAME_IN_USE, "the Name is in use", costs_attempt=False, maybe_sent=False
            )
        if self._must_look_next and isinstance(verdict, RetryAt):
            more = {"costs_attempt": verdict.costs_attempt, "maybe_sent": False}
            verdict = LookFirst(verdict.after_s, verdict.code, verdict.reason, verdict.http_status, **more)
        return conclude(
            verdict, attempts=item.attempts, max_attempts=self._rules.max_attempts, must_look=item.must_look
        )

    async def _steps(self) -> Verdict:
        item = self.item
        if item.secrets is None:
            return self._credential_lost()
        connector = await self._connector()
        may_install = not item.is_called_off and not self._is_last_look()
        is_new_account = await self._ensure_account(may_create=may_install)
        # What is in an account that did not exist a moment ago need not be asked.
        if not is_new_account and (item.must_look or item.look_first or item.skip_if_present):
            there = await self._look(connector)
            if there is not None:
                return there
        if not may_install:
            return self._absent()
        return await self._install(connector)

    async def _connector(self) -> JobConnector:
        connector = await self._releases.get(self.item.connector_id)
        if not connector.is_stale:
            return connector
        await self._renew(connector)
        return await self._releases.get(self.item.connector_id)

    async def _renew(self, connector: JobConnector) -> Fate:
        fate = await self._releases.renew(connector, self.item.account_id, self._permit("connector"))
        if fate is Fate.UNFIT:
            reason = f"the connector {connector.name} has a new release that the rows do not fit, or is gone"
            pause = PauseReason.RELEASE_CHANGED
            raise Ended(RetryAt(0, Code.CONNECTOR_GONE, reason, costs_attempt=False, pause=pause))
        return fate

    async def _ensure_account(self, *, may_create: bool) -> bool:
        """Whether the account is surely empty: it was created just now, or does not exist and may not be created."""
        item = self.item
        if item.account is None or item.account_exists:
            return False
        if not may_create:
            return not await self._with_a_good_token(self._account_exists)
        account = item.account

        async def create() -> bool:
            permit = await self.permits.next("create_account")
            return await self._client.create_account(permit, item.account_id, account)

        is_new = await self._with_a_good_token(create)
        self._note_account(is_new)
        return is_new

    async def _look(self, connector: JobConnector) -> Verdict | None:
        """The verdict if the target is there; None if a look has shown it absent."""
        item = self.item
        permit = self._permit("look")
        seen = await self._with_a_good_token(
            lambda: look(self._client, permit, item.account_id, name=item.name, connector_name=connector.name)
        )
        if seen.found is not None:
            if fold(seen.found.connector_name) == fold(connector.name):
                return self._found(seen.found)
            message = f"the Name {item.name!r} is taken in this account by another connector, {seen.found.connector_name}"
            return GiveUp(Code.NAME_IN_USE, message)
        if item.skip_if_present and seen.same_connector_elsewhere:
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
        try:
            return await self._send(connector)
        except NameInUse as refusal:
            return await self._after_name_in_use(connector, refusal)
        except NotFound:
            return await self._after_not_found(connector)

    async def _send(self, connector: JobConnector) -> Verdict:
        item = self.item
        body = _install_body(item, connector)

        async def send() -> AccountConnector:
            permit = await self.permits.next("install")
            return await self._client.install(permit, item.account_id, connector.release_id, body)

        created = await self._with_a_good_token(send)
        message = None if created.is_authenticated else "waits for the customer's authorisation"
        return Installed(Outcome.CREATED, created.id, created.is_authenticated, message=message)

    async def _after_name_in_use(self, connector: JobConnector, refusal: NameInUse) -> Verdict:
        # Whatever stops us now: an earlier call of ours may have put it there, so the next attempt looks too.
        self._must_look_next = True
        there = await self._look(connector)
        if there is not None and not (isinstance(there, Installed) and there.code):
            return there
        return GiveUp(Code.NAME_IN_USE, refusal.message, refusal.status)

    async def _after_not_found(self, connector: JobConnector) -> Verdict:
        if not await self._with_a_good_token(self._account_exists):
            return self._account_unknown()
        if await self._renew(connector) is Fate.SAME:
            message = f"Cyclr does not find the connector {connector.name} for this account, though its catalogue lists it"
            return GiveUp(Code.CONNECTOR_GONE, message, 404)
        return await self._send(await self._releases.get(connector.id))

    async def _account_exists(self) -> bool:
        permit = await self.permits.next("account")
        return await self._client.find_account(permit, self.item.account_id)

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
                        raise OutcomeUnknown("Cyclr refuses a token that it has only just given", 401) from None
                    case Blame.TOKEN:
                        has_renewed = True
                    case Blame.ACCOUNT_UNKNOWN if refused_call != "create_account":
                        raise Ended(self._account_unknown()) from None
                    case _ if has_repeated:
                        raise Ended(self._account_refused()) from None
                    case _:
                        has_repeated = True

    def _permit(self, call: Call) -> Callable[[], Awaitable[Permit]]:
        return lambda: self.permits.next(call)

    def _is_last_look(self) -> bool:
        return is_look_only(
            attempts=self.item.attempts, max_attempts=self._rules.max_attempts, must_look=self.item.must_look
        )

    def _absent(self) -> Verdict:
        if self.item.is_called_off:
            return CalledOff()
        message = f"not installed: Cyclr gave no clear answer in {self.item.attempts} attempts, and a look found nothing"
        return GiveUp(Code.NO_ANSWER, message, can_retry_help=True)

    def _account_unknown(self) -> Verdict:
        return GiveUp(Code.ACCOUNT_UNKNOWN, f"Cyclr has no account {self.item.account_id}", 404)

    def _account_refused(self) -> Verdict:
        message = "Cyclr knows the account and refuses every call in it"
        if self.item.must_look:
            return GiveUp(Code.OUTCOME_UNKNOWN, f"may be installed: {message}", 401, is_absent=False)
        return GiveUp(Code.ACCOUNT_REFUSED, message, 401)

    def _credential_lost(self) -> Verdict:
        message = "the row's sealed data cannot be opened: its key is not configured, or it is wiped"
        return GiveUp(Code.CREDENTIAL_LOST, message, is_absent=not self.item.must_look)


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
