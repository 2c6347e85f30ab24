"""The account connector that a row is about: found, surely not there, or one that may not be touched."""

from collections.abc import Iterable, Mapping

from worker.cyclr.looks import Elsewhere, Finding
from worker.domain.comparing import FieldState, compare
from worker.domain.connectors import AccountConnector
from worker.domain.rows import PROPERTY_PREFIX
from worker.domain.states import Code, Outcome
from worker.domain.steps import CONNECTOR
from worker.domain.verdicts import GiveUp, Installed
from worker.operations.hands import AttemptEnded, Hands
from worker.store.connectors import JobConnector


async def find_there(hands: Hands) -> AccountConnector | None:
    """None: there is none, surely. Raises: AttemptEnded for one that may not be touched."""
    notes = hands.notes
    if CONNECTOR.name in notes.steps_done and notes.account_connector_id is not None:
        made = await hands.show(notes.account_connector_id)
        if made is not None:
            hands.is_ours = True
            return made
    connector = await hands.connector()
    finding = await hands.look(connector)
    there = the_one(hands, connector, finding)
    if there is None and hands.item.operation == "install":
        await _end_if_elsewhere(hands, finding)
    return there


def the_one(hands: Hands, connector: JobConnector, finding: Finding) -> AccountConnector | None:
    """The one of the row's Name and connector. Raises: AttemptEnded where the Name is another one's, or two match."""
    name = hands.item.name
    if finding.found is not None:
        hands.is_ours = is_proven_ours(hands, connector, finding.found)
        return finding.found
    if finding.is_ambiguous:
        message = f"two account connectors of this connector have the Name {name!r}: nothing was changed"
        raise AttemptEnded(GiveUp(Code.AMBIGUOUS, message))
    if finding.taken_by is not None:
        message = f"the Name {name!r} is taken in this account by another connector, {finding.taken_by!r}"
        raise AttemptEnded(GiveUp(Code.NAME_IN_USE, message))
    return None


async def _end_if_elsewhere(hands: Hands, finding: Finding) -> None:
    """Raises: AttemptEnded where the connector is there under a Name that no row of ours has."""
    options = hands.item.options
    if not finding.elsewhere or options.beside or options.no_look:
        return
    if options.is_older:
        message = f"left alone: the account has this connector under the Name {names_of(finding.elsewhere)}"
        code = Code.PRESENT_UNDER_OTHER_NAME
        raise AttemptEnded(Installed(Outcome.ADOPTED, None, None, is_ours=False, code=code, message=message))
    ours = await hands.list_ours(finding.elsewhere)
    others = [entry for entry in finding.elsewhere if entry.id not in ours]
    if others:
        message = f"the account has this connector under the Name {names_of(others)}: nothing was changed"
        raise AttemptEnded(GiveUp(Code.PRESENT_UNDER_OTHER_NAME, message))


def names_of(entries: Iterable[Elsewhere]) -> str:
    return ", ".join([repr(entry.name) for entry in entries][:5])


def sent_with_install(asked: Mapping[str, str], connector: JobConnector) -> set[str]:
    """The fields of a row that go out with its install: those properties that the connector declares do."""
    return {
        name
        for name in asked
        if not name.startswith(PROPERTY_PREFIX) or connector.declares(name.removeprefix(PROPERTY_PREFIX))
    }


def is_proven_ours(hands: Hands, connector: JobConnector, found: AccountConnector) -> bool:
    """Whether what a look found is what this item's own lost call made: no such Name was there before that call, the Id is
    higher than any then, and every value that was sent is shown, of which there is one at least."""
    highest_id = hands.notes.highest_id
    if highest_id is None or found.id <= highest_id:
        return False
    sent = sent_with_install(hands.asked, connector)
    standings = compare(found, hands.asked)
    return bool(sent) and all(standings[name] is FieldState.SAME for name in sent)
