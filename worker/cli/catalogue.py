"""`cyclr-bulk connectors`, `cyclr-bulk accounts` and `cyclr-bulk template`: what Cyclr has, and a file made of it."""

from collections.abc import Iterator
from typing import Annotated

import typer

from worker.cli.home import TendedHome
from worker.cli.place import ask, read_settings
from worker.cli.terminal import (
    NOTHING_DONE,
    failures_in_words,
    require_whole_output,
    say,
    say_all,
    tell,
    tell_json,
    write_data,
)
from worker.cyclr.catalogue import CatalogueReader
from worker.cyclr.client import CyclrClient
from worker.cyclr.limiter import Limiter
from worker.domain.accounts import ListedAccount
from worker.domain.connectors import Connector, ConnectorRef
from worker.domain.words import counted
from worker.intake import template

app = typer.Typer(rich_markup_mode=None)
CONNECTORS_EXAMPLES = """\b
Examples:
  cyclr-bulk connectors mail
  cyclr-bulk connectors --json > catalogue.json"""
ACCOUNTS_EXAMPLES = """\b
Examples:
  cyclr-bulk accounts acme
  cyclr-bulk accounts --sub-accounts --json > accounts.json"""
TEMPLATE_EXAMPLES = """\b
Examples:
  cyclr-bulk template Mailchimp > accounts.csv
  cyclr-bulk template Mailchimp --accounts > accounts.csv
  cyclr-bulk template Mailchimp --accounts acme > accounts.csv"""
QueryForAccounts = Annotated[
    str | None, typer.Argument(metavar="[QUERY]", help="Part of an account's id or name.", show_default=False)
]
SUB_ACCOUNTS_ARE_SERVED = (
    "can use what is installed in its parent: a row for it makes a connector that nobody needs"
)
AccountOption = Annotated[
    str | None, typer.Option(metavar="ID", help="The account to ask for. Default: any.", show_default=False)
]
NO_ACCOUNT = (
    "Cyclr shows its catalogue to existing accounts only, and this instance has none yet: create one first."
)


@app.command("connectors", epilog=CONNECTORS_EXAMPLES)
def connectors_command(
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="Part of a name.", show_default=False)
    ] = None,
    account: AccountOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for programs.")] = False,
) -> None:
    """List Cyclr's catalogue: ids, names, versions, methods and account properties."""

    async def read(client: CyclrClient, limiter: Limiter) -> list[Connector] | None:
        catalogue = CatalogueReader(client, limiter.one)
        account_id = account or await catalogue.first_account()
        if account_id is None:
            return None
        found = catalogue.iter_connectors(account_id, query)
        return [connector async for connector in found]

    with failures_in_words(nothing_done="Nothing was listed."), _tended_home() as home:
        found = ask(home, read)
    if found is None:
        say(NO_ACCOUNT)
        raise typer.Exit(NOTHING_DONE)
    if as_json:
        tell_json([connector.to_json() for connector in found], indent=2)
        require_whole_output()
        return
    for connector in found:
        say_all(_connector_lines(connector), tell)
    require_whole_output()
    matching = f" with '{query}' in the name" if query else ""
    say(f"{counted(len(found), 'connector')}{matching}.")


@app.command("accounts", epilog=ACCOUNTS_EXAMPLES)
def accounts_command(
    query: QueryForAccounts = None,
    with_sub_accounts: Annotated[
        bool,
        typer.Option(
            "--sub-accounts",
            help="Those of each account too, which Cyclr's list may leave out: a call for each account.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for programs.")] = False,
) -> None:
    """List the accounts that Cyclr has: ids and names, and of a sub-account its parent's id."""

    async def read(client: CyclrClient, limiter: Limiter) -> list[ListedAccount]:
        catalogue = CatalogueReader(client, limiter.one)
        found = {account.id: account for account in await _matching(catalogue, query)}
        for account in list(found.values()) if with_sub_accounts else []:
            found |= {sub.id: sub async for sub in catalogue.iter_sub_accounts(account)}
        return list(found.values())

    with failures_in_words(nothing_done="Nothing was listed."), _tended_home() as home:
        found = ask(home, read)
    if as_json:
        tell_json([account.to_json() for account in found], indent=2)
        require_whole_output()
        return
    for account in found:
        tell(_account_line(account))
    require_whole_output()
    matching = f" with '{query}' in id or name" if query else ""
    say(f"{counted(len(found), 'account')}{matching}.")
    if sub_accounts := sum(account.parent_id is not None for account in found):
        say(f"warning: {counted(sub_accounts, 'sub-account')}. Each {SUB_ACCOUNTS_ARE_SERVED}.")


@app.command("template", epilog=TEMPLATE_EXAMPLES)
def template_command(
    name: Annotated[str, typer.Argument(metavar="CONNECTOR", help="Name or id.", show_default=False)],
    query: QueryForAccounts = None,
    for_accounts: Annotated[
        bool,
        typer.Option(
            "--accounts",
            help="A line for each account that Cyclr lists, or for those with QUERY in id or name. None for sub-accounts.",
        ),
    ] = False,
    account: AccountOption = None,
) -> None:
    """Write a CSV ready to fill for one connector, with an example line, to stdout."""
    if query is not None and not for_accounts:
        raise typer.BadParameter("QUERY says which accounts get a line: --accounts QUERY", param_hint="QUERY")

    async def read(client: CyclrClient, limiter: Limiter) -> tuple[Connector | str, list[ListedAccount]]:
        catalogue = CatalogueReader(client, limiter.one)
        account_id = account or await catalogue.first_account()
        if account_id is None:
            return NO_ACCOUNT, []
        connector = await catalogue.resolve(account_id, ConnectorRef(name))
        has_lines = for_accounts and isinstance(connector, Connector)
        return connector, await _matching(catalogue, query) if has_lines else []

    with failures_in_words(nothing_done="No template was written."), _tended_home() as home:
        found, accounts = ask(home, read)
    if not isinstance(found, Connector):
        say(found)
        raise typer.Exit(NOTHING_DONE)
    own = [each for each in accounts if each.parent_id is None]
    write_data(template(found, own))
    require_whole_output()
    if for_accounts:
        matching = f" with '{query}' in id or name" if query else ""
        say(f"{counted(len(own), 'account')}{matching}.")
    if left_out := len(accounts) - len(own):
        say(f"{counted(left_out, 'sub-account')} left out. Each {SUB_ACCOUNTS_ARE_SERVED}.")


async def _matching(catalogue: CatalogueReader, query: str | None) -> list[ListedAccount]:
    listed = catalogue.iter_accounts()
    return [account async for account in listed if query is None or account.has(query)]


def _account_line(account: ListedAccount) -> str:
    of_parent = f"  sub-account of {account.parent_id}" if account.parent_id is not None else ""
    return f"{account.id}  {account.name}{of_parent}"


def _tended_home() -> TendedHome:
    return TendedHome(read_settings(needs_cyclr=True), needs_workers=False)


def _connector_lines(connector: Connector) -> Iterator[str]:
    version = connector.version or "(no version)"
    yield f"{connector.name}  {version}  id {connector.release_id}  {connector.status}"
    for method in connector.methods:
        yield f"    method    {method.name or method.auth_type} ({method.auth_type})  {method.id}"
    for parameter in connector.account_properties:
        notes = ["optional" if parameter.is_optional else "required"]
        notes += ["sensitive"] if parameter.is_sensitive else []
        choices = f"  one of: {', '.join(parameter.choices)}" if parameter.choices else ""
        yield f"    property  {parameter.target_name}  {', '.join(notes)}{choices}"
