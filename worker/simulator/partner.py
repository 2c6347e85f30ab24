"""What is asked at the partner's level: tokens, accounts, users. Source: reference sections 3 to 5."""

from worker.simulator.entry import account_in_path, check_partner, json_text, listed
from worker.simulator.exchange import HTML, Asked, Reply, compact, found, round_trip
from worker.simulator.world import World

# Tokens.


def issue_token(world: World, asked: Asked) -> Reply:
    reject = world.switches.reject_credentials
    return found(world.tokens.issue(asked.body, world.accounts, reject=reject))


def issue_sign_in_token(world: World, asked: Asked) -> Reply:
    account = account_in_path(world, asked)
    if username := asked.fields.text("username"):
        account.usernames[username] = None
        world.note_account("account_changed", account)
    token, expires_at = world.tokens.issue_sign_in(account.id)
    return found({"Token": token, "ExpiresAtUtc": round_trip(expires_at)})


def authorise_by_customer(world: World, asked: Asked) -> Reply:
    """The page of the service domain where a customer authorises an OAuth connector; here consent is given at once."""
    account = world.accounts.get(world.tokens.use_sign_in(asked.query.get("token", "")) or "")
    connector_id = asked.query.get("id", "")
    if account is None or not connector_id.isdecimal() or int(connector_id) not in account.connectors:
        return Reply(403, "<html><body>403 – Forbidden: Access is denied.</body></html>", HTML)
    connector = account.connectors[int(connector_id)]
    world.authorise(account, connector)
    return Reply(302, "", HTML, {"Location": asked.query.get("targetorigin", "/")})


# Accounts and users.


def list_accounts(world: World, asked: Asked) -> Reply:
    check_partner(world, asked)
    return listed(world, asked, world.get_listed_accounts(), json_text)


def get_account(world: World, asked: Asked) -> Reply:
    return found(account_in_path(world, asked).as_json())


def create_account(world: World, asked: Asked) -> Reply:
    check_partner(world, asked)
    return found(world.create_account(asked.fields).as_json())


def change_account(world: World, asked: Asked) -> Reply:
    account = account_in_path(world, asked)
    world.change_account(account, asked.fields)
    return found(account.as_json())


def delete_account(world: World, asked: Asked) -> Reply:
    world.delete_account(account_in_path(world, asked))
    return found({})


def list_sub_accounts(world: World, asked: Asked) -> Reply:
    parent = account_in_path(world, asked)
    children = [account for account in world.accounts.values() if account.parent_id == parent.id]
    return listed(world, asked, children, json_text)


def get_usage(world: World, asked: Asked) -> Reply:
    """Nothing runs here, so no task was used."""
    account = account_in_path(world, asked)
    span = {"StartTime": round_trip(account.created_at), "EndTime": round_trip(world.now())}
    return found({"Id": account.id, "TasksUsed": 0, **span})


def list_users(world: World, asked: Asked) -> Reply:
    return listed(world, asked, list(account_in_path(world, asked).usernames), compact)


def add_user(world: World, asked: Asked) -> Reply:
    account = account_in_path(world, asked)
    account.usernames[asked.fields.text("username") or ""] = None
    world.note_account("account_changed", account)
    return found({})


def remove_user(world: World, asked: Asked) -> Reply:
    account = account_in_path(world, asked)
    account.usernames.pop(asked.fields.text("username") or "", None)
    world.note_account("account_changed", account)
    return found({})


def set_password(world: World, asked: Asked) -> Reply:
    """Passwords are not kept: nobody can sign in here."""
    check_partner(world, asked)
    username = asked.fields.text("username") or ""
    if not any(username in account.usernames for account in world.accounts.values()):
        world.not_found("user", username)
    return found({})
