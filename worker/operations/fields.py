"""The fields of what is there: each is compared with the row and set by a call of its own, or left alone."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from worker.cyclr.errors import NotFound
from worker.cyclr.exchange import Permit
from worker.domain.comparing import (
    DESCRIPTION,
    Change,
    Decision,
    FieldState,
    OwnCalls,
    Rights,
    compare,
    credential_of,
    decide,
    is_living,
    is_shown,
    outcome_of,
    shown_value,
)
from worker.domain.connectors import AccountConnector
from worker.domain.rows import AUTH_COLUMNS, PROPERTY_PREFIX, auth_value
from worker.domain.states import Code, Outcome
from worker.domain.steps import CONNECTOR, CREDENTIAL, FIELD_KINDS, NEW_PROPERTY, PROPERTY, Notes, StepKind
from worker.domain.verdicts import GiveUp, Installed, LookFirst, RetryAt, Verdict
from worker.domain.words import (
    OWNER_UNKNOWN,
    already_installed,
    differ,
    joined,
    not_authenticated,
    said_of_done,
    were,
)
from worker.operations.finding import find_there, names_of, sent_with_install
from worker.operations.hands import AttemptEnded, Hands
from worker.operations.operation import Effect, Step
from worker.store.connectors import JobConnector

TIMES_SET = 2  # after so many a value that is still shown as it was before is not taken


# What is to be done.


async def decide_now(hands: Hands) -> Decision:
    """By what was shown last. Raises: AttemptEnded where nothing may be done."""
    shown, asked, notes = hands.shown, hands.asked, hands.notes
    assert shown is not None  # it was found, or made
    if hands.item.options.is_older:
        # The version before left alone what was there, and said so.
        standings = compare(shown, asked)
        is_otherwise = (FieldState.OTHER, FieldState.MISSING)
        return Decision(differs=tuple(name for name, how in standings.items() if how in is_otherwise))
    connector = await hands.connector()
    rights, past = _rights(hands, connector), _past(hands, connector)
    decision = decide(shown, asked, rights, past, notes.shown_otherwise)
    if decision.refusal is Code.METHOD_UNKNOWN and await hands.has_made_by_method(shown.id):
        rights = replace(rights, knows_method=True)
        decision = decide(shown, asked, rights, past, notes.shown_otherwise)
    if decision.refusal is not None:
        raise AttemptEnded(_refused(decision.refusal, decision.differs, notes.changed))
    return decision


def _rights(hands: Hands, connector: JobConnector) -> Rights:
    options = hands.item.options
    return Rights(
        is_ours=hands.is_ours,
        overwrites=options.overwrite or hands.item.operation == "update",
        replaces_tokens=options.replace_tokens,
        knows_method=options.assume_method or connector.has_one_method,
    )


def _past(hands: Hands, connector: JobConnector) -> OwnCalls:
    asked, notes, former = hands.asked, hands.notes, hands.overwritten.former
    credential = credential_of(asked)
    is_set, before = set(notes.changed), dict(notes.before)
    if CONNECTOR.name in notes.steps_done:
        is_set.update(sent_with_install(asked, connector))
    elif is_living(asked) and (hands.item.maybe_sent or notes.sent == CONNECTOR.name):
        before = dict.fromkeys(credential, str(FieldState.MISSING)) | before  # there was nothing then
    of_credential = next(iter(credential), "")
    return OwnCalls(
        frozenset(is_set), before, former.get(of_credential), knows_former=of_credential in former
    )


_REFUSALS = {
    Code.DIFFERS: "{fields} {differ} and {were} left alone: nothing was changed",
    Code.METHOD_UNKNOWN: "the connector has several methods, and Cyclr does not show by which one it was installed: {fields}"
    " {were} not set",
    Code.OUTCOME_UNKNOWN: "{fields} may have been set: Cyclr gave no clear answer then, and does not show what is there",
}


def _refused(code: Code, differs: tuple[str, ...], changed: Sequence[str]) -> GiveUp:
    message = _REFUSALS[code].format(fields=joined(differs), differ=differ(differs), were=were(differs))
    if changed:
        message = f"{message.removesuffix(': nothing was changed')}; {joined(changed)} {were(changed)} set before that"
    return GiveUp(code, message, differs=differs, is_absent=code is not Code.OUTCOME_UNKNOWN)


# Each is looked for and set.


def _look_for(kind: StepKind) -> Callable[[Hands], Awaitable[Effect | None]]:
    async def look(hands: Hands) -> Effect | None:
        if hands.shown is None:
            hands.shown = await find_there(hands)
        if hands.shown is None:
            raise AttemptEnded(_not_there(hands))
        decision = await decide_now(hands)
        if kind is NEW_PROPERTY and await _may_be_there(hands, decision):
            hands.shown = await hands.show(hands.shown.id) or hands.shown
            decision = await decide_now(hands)
        if any(change.kind is kind for change in decision.changes):
            return None
        # What a call without an answer has set: else it would not stand as asked by now.
        set_before = tuple(name for name in decision.as_asked if name in hands.notes.before)
        undo = _sealed(hands, hands.shown) if set_before else None
        return Effect(is_new=False, shown=hands.shown, changed=set_before, undo=undo)

    return look


async def _may_be_there(hands: Hands, decision: Decision) -> bool:
    """Whether our own install was sent a property that is to be added: its answer may have left it out, and a second one of
    its name is not wanted."""
    sent = sent_with_install(hands.asked, await hands.connector())
    added = [name for change in decision.changes if change.kind is NEW_PROPERTY for name in change.fields]
    return hands.is_ours and not hands.has_looked and not sent.isdisjoint(added)


def _not_there(hands: Hands) -> GiveUp:
    message = f"the account has no account connector {hands.item.name!r} of this connector"
    elsewhere = hands.finding.elsewhere if hands.finding else ()
    if elsewhere:
        message += f"; it has this connector under the Name {names_of(elsewhere)}"
    return GiveUp(Code.NOT_THERE, message)


def _set(kind: StepKind) -> Callable[[Hands], Awaitable[Effect]]:
    async def act(hands: Hands) -> Effect:
        decision = await decide_now(hands)
        change = next(change for change in decision.changes if change.kind is kind)
        shown = hands.shown
        assert shown is not None  # it was looked at
        if kind is PROPERTY and change.property_id is None:
            raise AttemptEnded(_without_id(change))
        standings = compare(shown, hands.asked, hands.notes.shown_otherwise)
        before = {name: str(standings[name]) for name in change.fields}

        if not hands.is_ours:
            hands.overwritten.note(shown, change.fields)

        def noting(notes: Notes) -> Notes:
            """The first state of a field stays, whatever later looks see."""
            undo = _sealed(hands, shown) or notes.undo
            return replace(notes, before=before | dict(notes.before), undo=undo)

        try:
            now = await hands.send(kind, lambda permit: _call(hands, permit, change, shown), noting)
        except NotFound:
            await hands.end_if_account_is_gone()
            reason = f"{kind.noun} found nothing to change any more"
            raise AttemptEnded(LookFirst(0, Code.NOT_THERE, reason, 404, maybe_sent=False)) from None
        hands.shown = now
        return _effect(hands, change, shown, now)

    return act


def _sealed(hands: Hands, shown: AccountConnector) -> bytes | None:
    """What is kept for the row's undo. Of what the row has made nothing was there before."""
    if hands.is_ours or hands.item.options.no_undo:
        return None
    return hands.overwritten.sealed(shown)


def _without_id(change: Change) -> GiveUp:
    message = f"Cyclr shows no id of {joined(change.fields)}, so it cannot be set"
    return GiveUp(Code.REFUSED, message, differs=change.fields)


async def _call(hands: Hands, permit: Permit, change: Change, shown: AccountConnector) -> AccountConnector:
    """The account connector as it is shown after the call, whose body names what is to be set and nothing else."""
    client, account_id, asked = hands.client, hands.item.account_id, hands.asked
    if change.kind is CREDENTIAL:
        now = await client.change_account_connector(permit, account_id, shown.id, _body(change.fields, asked))
        # Its properties are what the account connector itself, or their own calls, have shown.
        return replace(now, properties=shown.properties)
    [field] = change.fields
    name, value = field.removeprefix(PROPERTY_PREFIX), asked[field]
    if change.property_id is None:
        return shown.with_property(await client.add_property(permit, account_id, shown.id, name, value))
    return shown.with_property(
        await client.set_property(permit, account_id, shown.id, change.property_id, name, value)
    )


def _body(names: Collection[str], asked: Mapping[str, str]) -> dict[str, str]:
    body: dict[str, str] = {}
    if credential := credential_of(names):
        value = auth_value({name: asked[name] for name in credential})
        assert value is not None  # so it is called a credential
        body["AuthValue"] = value
    if DESCRIPTION in names:
        body["Description"] = asked[DESCRIPTION]
    return body


def _effect(hands: Hands, change: Change, before: AccountConnector, now: AccountConnector) -> Effect:
    """Which fields are set, by what the answer shows. Raises: AttemptEnded for a value that is not taken."""
    hands.times_set.update(change.fields)
    otherwise = [n for n, how in compare(now, hands.asked).items() if how is not FieldState.SAME]
    not_taken = [
        name
        for name in change.fields
        if name in otherwise and _is_as_before(name, before, now) and not is_living(hands.asked)
    ]
    stubborn = tuple(name for name in not_taken if hands.times_set[name] >= TIMES_SET)
    if stubborn:
        message = f"Cyclr took {joined(stubborn)} {TIMES_SET} times and still shows what was there before"
        raise AttemptEnded(GiveUp(Code.NOT_TAKEN, message, differs=stubborn))
    changed = tuple(name for name in change.fields if name not in not_taken)
    return Effect(
        is_new=True,
        shown=now,
        changed=changed,
        shown_otherwise=tuple(name for name in changed if name in otherwise),
        undo=_sealed(hands, now),
    )


def _is_as_before(name: str, before: AccountConnector, now: AccountConnector) -> bool:
    """Whether a field is shown as it was: nothing shown of a credential says nothing, and neither does a mask."""
    was, is_now = shown_value(before, name), shown_value(now, name)
    if name in AUTH_COLUMNS and not is_now:
        return False
    return (was or "") == (is_now or "") and (not was or is_shown(was))


FIELD_STEPS = tuple(
    Step(kind, lambda _item, _notes: True, _look_for(kind), _set(kind), is_for_each=True)
    for kind in FIELD_KINDS
)


# What came of it.


async def conclude_row(hands: Hands, effects: Mapping[StepKind, Effect]) -> Verdict:
    """How a row ends whose account connector is there, made or found."""
    item, shown = hands.item, hands.shown
    assert shown is not None
    decision = await decide_now(hands)
    if decision.changes:
        return RetryAt(0, Code.NOT_TAKEN, "a value is not shown as it was set", costs_attempt=True)
    credential = credential_of(hands.asked)
    is_refused = credential and not shown.is_authenticated and not item.options.is_older
    if is_refused:
        return GiveUp(Code.NOT_AUTHENTICATED, not_authenticated(credential), differs=credential)
    how = _outcome(hands, [kind for kind, effect in effects.items() if effect.is_new])
    return Installed(
        how,
        shown.id,
        shown.is_authenticated,
        decision.differs,
        message="; ".join(await _said(hands, how, decision.differs)) or None,
        is_ours=True if hands.is_ours else None if how is Outcome.RECOVERED else False,
    )


def _outcome(hands: Hands, made: Collection[StepKind]) -> Outcome:
    """`made`: the steps that this attempt's own calls have done."""
    notes, item = hands.notes, hands.item
    if hands.is_ours:
        is_recovered = CONNECTOR not in made and (item.maybe_sent or item.notes.sent == CONNECTOR.name)
        return Outcome.RECOVERED if is_recovered else Outcome.CREATED
    if notes.changed:
        return outcome_of(notes.before, notes.changed)
    if item.maybe_sent or item.notes.sent == CONNECTOR.name:
        return Outcome.RECOVERED
    return Outcome.ADOPTED if item.options.is_older else Outcome.UNCHANGED


async def _said(hands: Hands, how: Outcome, differs: Sequence[str]) -> list[str]:
    """What there is to say of a row that is done, in parts of a sentence."""
    item, shown, changed = hands.item, hands.shown, hands.notes.changed
    assert shown is not None
    if item.options.is_older and not hands.is_ours:
        is_adopted = how is Outcome.ADOPTED
        said = [already_installed(differs)] if is_adopted or differs else []
        return said if is_adopted else [*said, OWNER_UNKNOWN]
    is_for_customer = False
    if not shown.is_authenticated:
        connector = await hands.connector()
        is_for_customer = connector.asks_customer(item.authentication_id)
    return said_of_done(
        how,
        differs=differs,
        changed=changed,
        is_ours=hands.is_ours,
        is_authenticated=shown.is_authenticated,
        to_authorise=is_for_customer,
    )
