"""Who asks, and for what: the checks that all answers begin with, and how lists are answered.

Checks come in the order token, account header, thing in the path, body.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from worker.simulator.accounts import Account, AccountConnector
from worker.simulator.exchange import DENIED, Asked, Refused, Reply, compact
from worker.simulator.world import World

T = TypeVar("T")


def check_partner(world: World, asked: Asked) -> None:
    # A token restricted to one account is refused at the partner level [inferred].
    if world.tokens.authorise(asked.authorization).account_id is not None:
        raise Refused(401, DENIED)


def acting_account(world: World, asked: Asked) -> Account:
    token = world.tokens.authorise(asked.authorization)
    return world.entitled_account(asked.header_account_id, token.account_id)


def account_in_path(world: World, asked: Asked) -> Account:
    check_partner(world, asked)
    return world.get_account(asked.path["account_id"])


def account_connector_in_path(world: World, asked: Asked) -> tuple[Account, AccountConnector]:
    account = acting_account(world, asked)
    return account, world.get_account_connector(account, asked.path["connector_id"])


def listed(world: World, asked: Asked, entries: Sequence[T], as_text: Callable[[T], str]) -> Reply:
    if asked.query.get("sortorderasc", "").lower() == "false":
        entries = entries[::-1]
    shown, pages = world.page(entries, asked.query.get("page"), asked.query.get("pagesize"))
    headers: Mapping[str, str] = {"Total-Pages": str(pages)} if world.switches.total_pages else {}
    return Reply(200, f"[{','.join(map(as_text, shown))}]", headers=headers)


def json_text(thing: Any) -> str:
    return compact(thing.as_json())
