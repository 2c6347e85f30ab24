"""What is there before a job, and what became of it: for tests of rows that change account connectors."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.end_to_end.harness import MAIL, Rig, row
from worker.simulator.world import Install

CHANGES = frozenset({"change_account_connector", "change_property", "add_property"})
LOOKS = frozenset({"look", "account_connector"})


def put_there(
    rig: Rig,
    account_id: str,
    name: str = MAIL,
    *,
    connector: str = MAIL,
    api_key: str | None = None,
    description: str | None = None,
    **properties: str | None,
) -> int:
    """An account connector of somebody else's. Its id."""
    wanted = Install(
        name=name, description=description, auth_value=api_key, properties=tuple(properties.items())
    )

    def put(world: Any) -> int:
        return int(world.add_installed(account_id, world.find_release(connector), wanted).id)

    return rig.simulator.call(put)


def load(rig: Rig, *rows: Mapping[str, str], **options: Any) -> str:
    """The id of a running job that looks into each account first, as a person's does who asks for nothing else."""
    return rig.load(*rows, **{"no_look": False} | options)


def lacks_a_key(rig: Rig, account_id: str) -> dict[str, str]:
    """A row of a connector that is there without its credential: one PUT of the account connector is to be made."""
    put_there(rig, account_id, Region="EU")
    return row(account_id, property_WebhookSecret="")


def lacks_a_value(rig: Rig, account_id: str) -> dict[str, str]:
    """A row of a connector that is there with an empty property: one PUT of the property is to be made."""
    put_there(rig, account_id, api_key=f"key-of-{account_id}-5f1c", Region="")
    return row(account_id, property_WebhookSecret="")


def lacks_a_property(rig: Rig, account_id: str) -> dict[str, str]:
    """A row of a connector that is there without a property: one POST of the property is to be made."""
    put_there(rig, account_id, api_key=f"key-of-{account_id}-5f1c")
    return row(account_id, property_WebhookSecret="")


LACKING = {
    "change_account_connector": lacks_a_key,
    "change_property": lacks_a_value,
    "add_property": lacks_a_property,
}
FIELDS = {
    "change_account_connector": "api_key",
    "change_property": "property.Region",
    "add_property": "property.Region",
}


def has_another_key(rig: Rig, account_id: str) -> dict[str, str]:
    put_there(rig, account_id, api_key="key-of-theirs-40b1", Region="EU")
    rig.secrets.add("key-of-theirs-40b1")
    return row(account_id, property_WebhookSecret="")


def has_another_value(rig: Rig, account_id: str) -> dict[str, str]:
    put_there(rig, account_id, api_key=f"key-of-{account_id}-5f1c", Region="US")
    return row(account_id, property_WebhookSecret="")


def undo_of(rig: Rig, account_id: str) -> dict[str, Any]:
    """What is kept of what the row has overwritten."""
    item = rig.item(account_id)
    sealer = rig.database.sealer
    return sealer.open_undo(item.undo, job_id=item.job_id, row_number=item.row_number)


def changes(rig: Rig, account_id: str) -> list[Any]:
    """What our calls changed in this account's connectors since the job was loaded, as they took effect."""
    return [
        change
        for change in rig.ledger.changes(account_id)
        if change.by == "caller" and change.took_effect and change.call >= rig.loaded_at_call
    ]


def state(rig: Rig, account_id: str, name: str = MAIL) -> dict[str, str | None]:
    """All that the account connector of this Name holds."""

    def read(world: Any) -> list[dict[str, str | None]]:
        there = world.get_account(account_id).connectors.values()
        return [connector.state() for connector in there if connector.name == name]

    [found] = rig.simulator.call(read)
    return dict(found)


def ended(rig: Rig, account_id: str) -> tuple[str, str | None, list[str]]:
    """(state, outcome or code, the fields that were changed) of the row."""
    item = rig.item(account_id)
    return item.state, item.outcome or item.code, list(item.changed or ())


def of_kinds(rig: Rig, account_id: str, kinds: Iterable[str]) -> list[str]:
    return [kind for kind in rig.kinds(account_id) if kind in kinds]
