"""Install a connector into an account, once: the account is made if the row asks for it and it is not there."""

from collections.abc import Mapping
from typing import Any

from worker.cyclr.errors import NameInUse, NotFound
from worker.domain.comparing import differences, shows_all
from worker.domain.connectors import AccountConnector
from worker.domain.options import IfPresent
from worker.domain.rows import auth_value, properties
from worker.domain.states import Code, Outcome
from worker.domain.steps import ACCOUNT, CONNECTOR, Notes, StepKind
from worker.domain.targets import fold
from worker.domain.verdicts import GiveUp, Installed, RetryAt
from worker.domain.words import OWNER_UNKNOWN, WAITS_FOR_CREDENTIAL, WAITS_FOR_CUSTOMER, already_installed
from worker.operations.hands import AttemptEnded, Fate, Hands
from worker.operations.operation import Effect, Operation, Step
from worker.store.claiming import ClaimedItem
from worker.store.connectors import JobConnector

# The account.


def _asks_for_an_account(item: ClaimedItem, notes: Notes) -> bool:
    return item.account is not None and not notes.account_exists


async def _look_for_account(hands: Hands) -> Effect | None:
    return Effect(is_new=False) if await hands.account_exists() else None


async def _create_account(hands: Hands) -> Effect:
    item, account = hands.item, hands.item.account
    assert account is not None  # else the step is not asked for
    is_new = await hands.send(
        ACCOUNT, lambda permit: hands.client.create_account(permit, item.account_id, account)
    )
    hands.is_new_account = is_new
    return Effect(is_new)


# The connector.


def _asks_for_a_connector(_item: ClaimedItem, _notes: Notes) -> bool:
    return True  # also where it is done, since what became of it was not written then


async def _look_for_connector(hands: Hands) -> Effect | None:
    """Raises: AttemptEnded where the Name is another connector's, or where the row leaves alone what is there under another Name."""
    connector = await hands.connector()
    finding = await hands.look(connector)
    if finding.found is not None:
        return Effect(is_new=False, shown=_of_this_connector(hands, connector, finding.found))
    if hands.item.options.if_present is IfPresent.SKIP and finding.same_connector_elsewhere:
        names = ", ".join(repr(name) for name in finding.same_connector_elsewhere[:5])
        message = f"left alone: the account has this connector under the Name {names}"
        code = Code.PRESENT_UNDER_OTHER_NAME
        raise AttemptEnded(Installed(Outcome.ADOPTED, None, None, is_ours=False, code=code, message=message))
    return None


def _of_this_connector(hands: Hands, connector: JobConnector, found: AccountConnector) -> AccountConnector:
    if fold(found.connector_name) == fold(connector.name):
        return found
    message = f"the Name {hands.item.name!r} is taken in this account by another connector, {found.connector_name!r}"
    raise AttemptEnded(GiveUp(Code.NAME_IN_USE, message))


async def _install(hands: Hands) -> Effect:
    item = hands.item
    connector = await hands.connector()
    body = _body(item, connector)
    try:
        created = await hands.send(
            CONNECTOR,
            lambda permit: hands.client.install(permit, item.account_id, connector.release_id, body),
        )
    except NameInUse as refusal:
        return await _after_name_in_use(hands, connector, refusal)
    except NotFound:
        raise AttemptEnded(await _after_not_found(hands, connector)) from None
    return Effect(is_new=True, shown=created)


async def _after_name_in_use(hands: Hands, connector: JobConnector, refusal: NameInUse) -> Effect:
    # Whatever stops us now: an earlier call of ours may have put it there, so the next attempt looks too.
    hands.is_name_in_use = True
    hands.may_be_there = CONNECTOR
    finding = await hands.look(connector, anew=True)
    if finding.found is None:
        raise AttemptEnded(GiveUp(Code.NAME_IN_USE, refusal.message, refusal.status))
    return Effect(is_new=False, shown=_of_this_connector(hands, connector, finding.found))


async def _after_not_found(hands: Hands, connector: JobConnector) -> GiveUp | RetryAt:
    await hands.end_if_account_is_gone()
    if await hands.renew(connector) is Fate.SAME:
        message = f"Cyclr does not find the connector {connector.name} for this account, though its catalogue lists it"
        return GiveUp(Code.CONNECTOR_GONE, message, 404)
    # In an attempt of its own, since an absence allows one install only.
    reason = f"Cyclr has a new release of the connector {connector.name}"
    return RetryAt(0, Code.CONNECTOR_GONE, reason, 404, costs_attempt=False)


def _body(item: ClaimedItem, connector: JobConnector) -> dict[str, Any]:
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


# What came of it.


async def _outcome(hands: Hands, effects: Mapping[StepKind, Effect]) -> Installed:
    effect, item = effects[CONNECTOR], hands.item
    assert effect.shown is not None  # a connector is what the step is about
    shown = effect.shown
    if effect.is_new:
        connector = await hands.connector()
        is_for_customer = connector.asks_customer(item.authentication_id)
        waits_for = WAITS_FOR_CUSTOMER if is_for_customer else WAITS_FOR_CREDENTIAL
        message = None if shown.is_authenticated else waits_for
        return Installed(Outcome.CREATED, shown.id, shown.is_authenticated, message=message, is_ours=True)
    if CONNECTOR.name in item.notes.steps_done and shown.id == item.notes.account_connector_id:
        return Installed(Outcome.CREATED, shown.id, shown.is_authenticated, is_ours=True)
    differing = differences(shown, item.secrets or {}, item.description)
    if not (item.maybe_sent or item.notes.sent == CONNECTOR.name):
        message = already_installed(differing)
        return Installed(
            Outcome.ADOPTED, shown.id, shown.is_authenticated, differing, message=message, is_ours=False
        )
    if is_proven_ours(item, shown):
        return Installed(Outcome.RECOVERED, shown.id, shown.is_authenticated, is_ours=True)
    message = f"{already_installed(differing)}; {OWNER_UNKNOWN}" if differing else OWNER_UNKNOWN
    return Installed(Outcome.RECOVERED, shown.id, shown.is_authenticated, differing, message=message)


def is_proven_ours(item: ClaimedItem, found: AccountConnector) -> bool:
    """Whether what a look found is what this item's own lost call made: no such Name was there before that call, the Id is
    higher than any then, and every value that was sent is shown."""
    highest_id = item.notes.highest_id
    if item.notes.sent != CONNECTOR.name or highest_id is None or found.id <= highest_id:
        return False
    return item.secrets is not None and shows_all(found, item.secrets, item.description)


INSTALL = Operation(
    "install",
    steps=(
        Step(ACCOUNT, _asks_for_an_account, _look_for_account, _create_account),
        Step(CONNECTOR, _asks_for_a_connector, _look_for_connector, _install),
    ),
    outcome=_outcome,
)
