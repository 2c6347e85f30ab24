"""Account connectors and their properties. Source: reference sections 7 and 9."""

from worker.simulator.accounts import Account, AccountConnector, Property
from worker.simulator.entry import account_connector_in_path, acting_account, listed
from worker.simulator.exchange import Asked, Reply, compact, found
from worker.simulator.world import World


def list_account_connectors(world: World, asked: Asked) -> Reply:
    connectors = world.account_connectors(acting_account(world, asked))
    masks = world.switches.masks(is_read=True)
    return listed(world, asked, connectors, lambda connector: connector.as_json_text(masks))


def get_account_connector(world: World, asked: Asked) -> Reply:
    _, connector = account_connector_in_path(world, asked)
    return Reply(200, connector.as_json_text(world.switches.masks(is_read=True)))


def change_account_connector(world: World, asked: Asked) -> Reply:
    account, connector = account_connector_in_path(world, asked)
    pairs = asked.fields.pairs("properties") if asked.fields.values.get("properties") is not None else None
    world.change(account, connector, asked.fields, pairs)
    return changed(world, connector)


def remove_account_connector(world: World, asked: Asked) -> Reply:
    world.remove(*account_connector_in_path(world, asked))
    return found({})


def deauthenticate(world: World, asked: Asked) -> Reply:
    account, connector = account_connector_in_path(world, asked)
    world.deauthenticate(account, connector)
    return found({"Message": f"Connector '{connector.name}' successfully de-authenticated."})


def list_properties(world: World, asked: Asked) -> Reply:
    _, connector = account_connector_in_path(world, asked)
    entries = list(connector.properties.values())
    if asked.query.get("orderby", "").lower() == "name":
        entries.sort(key=lambda entry: entry.name)
    masks = world.switches.masks(is_read=True)
    return listed(world, asked, entries, lambda entry: compact(connector.property_as_json(entry, masks)))


def add_property(world: World, asked: Asked) -> Reply:
    account, connector = account_connector_in_path(world, asked)
    name, value = asked.fields.text("name") or "", asked.fields.text("value")
    entry = world.add_property(account, connector, name, value)
    return found(connector.property_as_json(entry, world.switches.masks(is_read=False)))


def get_property(world: World, asked: Asked) -> Reply:
    _, connector, entry = _property_in_path(world, asked)
    return found(connector.property_as_json(entry, world.switches.masks(is_read=True)))


def change_property(world: World, asked: Asked) -> Reply:
    account, connector, entry = _property_in_path(world, asked)
    world.change_property(account, connector, entry, asked.fields)
    return found(connector.property_as_json(entry, world.switches.masks(is_read=False)))


def remove_property(world: World, asked: Asked) -> Reply:
    world.remove_property(*_property_in_path(world, asked))
    return found({})


def changed(world: World, connector: AccountConnector) -> Reply:
    """What a call that changes an account connector answers."""
    return Reply(200, connector.as_json_text(world.switches.masks(is_read=False)))


def _property_in_path(world: World, asked: Asked) -> tuple[Account, AccountConnector, Property]:
    account, connector = account_connector_in_path(world, asked)
    text = asked.path["property_id"]
    entry = connector.properties.get(int(text)) if text.isdecimal() else None
    return account, connector, entry or world.not_found("property", text)
