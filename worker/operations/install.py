"""Install a connector into an account, once, or fill in what is missing of it: the account is made if the row asks for it and
it is not there."""

from typing import Any

from worker.cyclr.errors import NameInUse, NotFound
from worker.domain.comparing import FieldState, compare
from worker.domain.rows import PROPERTY_PREFIX, auth_value
from worker.domain.states import Code
from worker.domain.steps import ACCOUNT, CONNECTOR, Notes
from worker.domain.verdicts import GiveUp, RetryAt
from worker.operations.fields import FIELD_STEPS, conclude_row
from worker.operations.finding import find_there, sent_with_install, the_one
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
    hands.shown = await find_there(hands)
    not_kept = hands.item.not_kept
    if hands.shown is None and not_kept:
        message = f"it is not there any more, and {' and '.join(not_kept)} can be read no more: fill in what is missing"
        raise AttemptEnded(GiveUp(Code.CREDENTIAL_LOST, message))
    return None if hands.shown is None else Effect(is_new=False, shown=hands.shown)


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
    hands.is_ours = True
    hands.shown, hands.has_looked = created, False
    # What Cyclr made of a value that it has just taken is not sent again.
    otherwise = [name for name, how in compare(created, hands.asked).items() if how is FieldState.OTHER]
    return Effect(is_new=True, shown=created, shown_otherwise=tuple(otherwise))


async def _after_name_in_use(hands: Hands, connector: JobConnector, refusal: NameInUse) -> Effect:
    # Whatever stops us now: an earlier call of ours may have put it there, so the next attempt looks too.
    hands.is_name_in_use = True
    hands.may_be_there = CONNECTOR
    finding = await hands.look(connector, anew=True)
    hands.shown = the_one(hands, connector, finding)
    if hands.shown is None:
        raise AttemptEnded(GiveUp(Code.NAME_IN_USE, refusal.message, refusal.status))
    return Effect(is_new=False, shown=hands.shown)


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
    sent = sent_with_install(secrets, connector)
    body["Properties"] = [
        {"Name": name.removeprefix(PROPERTY_PREFIX), "Value": value}
        for name, value in secrets.items()
        if name.startswith(PROPERTY_PREFIX) and name in sent
    ]
    return body


INSTALL = Operation(
    "install",
    steps=(
        Step(ACCOUNT, _asks_for_an_account, _look_for_account, _create_account),
        Step(CONNECTOR, _asks_for_a_connector, _look_for_connector, _install),
        *FIELD_STEPS,
    ),
    outcome=conclude_row,
)
