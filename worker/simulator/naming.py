"""What a call that changes something names, in the words of the ledger."""

from worker.simulator.binding import Fields, Unbindable
from worker.simulator.exchange import Asked
from worker.simulator.ledger import CHANGING, PROPERTY, State
from worker.simulator.world import World

FIELDS = {
    "name": "Name",
    "description": "Description",
    "authvalue": "AuthValue",
    "authenticationid": "AuthenticationId",
    "ispartnerintegrationconnector": "IsPartnerIntegrationConnector",
}


def named_by(kind: str, asked: Asked, world: World) -> State:
    """Field -> value; empty for a call that changes nothing, or whose body does not bind."""
    if kind not in CHANGING:
        return {}
    body = asked.bound if isinstance(asked.bound, Fields) else Fields({})
    try:
        if kind == "deauthenticate":
            return {"AuthValue": None}
        if kind in ("add_property", "change_property", "remove_property"):
            return {f"{PROPERTY}{_property_name(asked, body, world)}": body.text("value")}
        others = {
            FIELDS.get(name, name): value for name, value in body.named().items() if name != "properties"
        }
        return others | {f"{PROPERTY}{name}": value for name, value in body.pairs("properties")}
    except Unbindable:
        return {}


def _property_name(asked: Asked, body: Fields, world: World) -> str:
    """That of the body, else that of the property in the path, else the number in the path."""
    number = asked.path.get("property_id", "")
    return body.text("name") or world.find_property_name(asked.header_account_id, asked.path) or number
