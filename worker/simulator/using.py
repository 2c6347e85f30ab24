"""Custom connectors, and what is done with a connector that is installed: its methods, triggers and custom fields.

None of it changes a credential or a property. Source: reference section 7.
"""

from typing import Any

from worker.simulator.accounts import AccountConnector
from worker.simulator.binding import Fields
from worker.simulator.catalogue import ApiMethod
from worker.simulator.entry import account_connector_in_path, acting_account, listed
from worker.simulator.exchange import Asked, Refused, Reply, compact, found, is_guid
from worker.simulator.world import World

TEXT = "text/plain"


def list_custom_connectors(world: World, asked: Asked) -> Reply:
    return listed(world, asked, list(acting_account(world, asked).custom_connectors.values()), compact)


def add_custom_connector(world: World, asked: Asked) -> Reply:
    account = acting_account(world, asked)
    if not is_guid(asked.fields.text("uniqueidentifier") or ""):
        raise Refused(400, "UniqueIdentifier is not valid.")  # invented, but for its status
    if not asked.fields.text("name"):
        raise Refused(400, "Invalid connector: (Column 'Name' cannot be null)")
    made = {"Id": world.other_id(), **_named(asked.fields, "Name", "UniqueIdentifier", "ReleaseStatus")}
    account.custom_connectors[made["Id"]] = made
    return found(made)


def get_custom_connector(world: World, asked: Asked) -> Reply:
    """What comes is no JSON [live-test]."""
    made = _in(acting_account(world, asked).custom_connectors, "custom connector", "custom_id", world, asked)
    return Reply(200, f"Connector {made['Name']}", TEXT)


def remove_custom_connector(world: World, asked: Asked) -> Reply:
    account = acting_account(world, asked)
    made = _in(account.custom_connectors, "custom connector", "custom_id", world, asked)
    del account.custom_connectors[made["Id"]]
    return found({})


def call_method(world: World, asked: Asked) -> Reply:
    """Calls, tests or shows the body of a method; nothing is behind it here."""
    _, connector = account_connector_in_path(world, asked)
    method = _method_in_path(world, asked, connector)
    known = {str(parameter["Id"]) for parameter in method.as_json()["Parameters"]}
    given = asked.fields.values.get("parameters") or {}
    if not isinstance(given, dict) or not given.keys() <= known:
        raise Refused(
            400, "There is a parameter that the method does not have."
        )  # invented, but for its status
    return found({})


def fire_trigger(world: World, asked: Asked) -> Reply:
    _, connector = account_connector_in_path(world, asked)
    if asked.path["trigger_id"] != str(connector.release.trigger_id):
        world.not_found("trigger", asked.path["trigger_id"])
    return found([{"Name": "All contacts", "Value": "all"}])


def list_fields(world: World, asked: Asked) -> Reply:
    _, connector = account_connector_in_path(world, asked)
    return listed(world, asked, list(connector.custom_fields.values()), compact)


def add_field(world: World, asked: Asked) -> Reply:
    _, connector = account_connector_in_path(world, asked)
    made = {"Id": world.other_id(), **_named(asked.fields, "Name", "DataType")}
    connector.custom_fields[made["Id"]] = made
    return found(made)


def get_field(world: World, asked: Asked) -> Reply:
    return found(_field_in_path(world, asked)[1])


def change_field(world: World, asked: Asked) -> Reply:
    _, entry = _field_in_path(world, asked)
    entry |= {name: value for name, value in _named(asked.fields, "Name", "DataType").items() if value}
    return found(entry)


def remove_field(world: World, asked: Asked) -> Reply:
    connector, entry = _field_in_path(world, asked)
    del connector.custom_fields[entry["Id"]]
    return found({})


def _field_in_path(world: World, asked: Asked) -> tuple[AccountConnector, dict[str, Any]]:
    _, connector = account_connector_in_path(world, asked)
    return connector, _in(connector.custom_fields, "field", "field_id", world, asked)


def _method_in_path(world: World, asked: Asked, connector: AccountConnector) -> ApiMethod:
    """By the number that the installed release gave it, or by its unique identifier."""
    text = asked.path["method_id"]
    if not text.isdecimal() and not is_guid(text):
        raise Refused(400, "The request is invalid.")
    known = (m for m in connector.release.api_methods if text.lower() in (str(m.id), m.unique_id))
    return next(known, None) or world.not_found("method", text)


def _in(
    entries: dict[int, dict[str, Any]], thing: str, part: str, world: World, asked: Asked
) -> dict[str, Any]:
    text = asked.path[part]
    return (entries.get(int(text)) if text.isdecimal() else None) or world.not_found(thing, text)


def _named(fields: Fields, *names: str) -> dict[str, Any]:
    return {name: fields.text(name.lower()) for name in names}
