"""`cyclr-bulk connectors` and `cyclr-bulk template`."""

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
from worker.domain.connectors import Connector, ConnectorRef
from worker.domain.words import counted
from worker.intake import template

app = typer.Typer(rich_markup_mode=None)
CONNECTORS_EXAMPLES = """\b
Examples:
  cyclr-bulk connectors mail
  cyclr-bulk connectors --json > catalogue.json"""
TEMPLATE_EXAMPLES = """\b
Example:
  cyclr-bulk template Mailchimp > accounts.csv"""
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


@app.command("template", epilog=TEMPLATE_EXAMPLES)
def template_command(
    name: Annotated[str, typer.Argument(metavar="CONNECTOR", help="Name or id.", show_default=False)],
    account: AccountOption = None,
) -> None:
    """Write a CSV ready to fill for one connector, with an example line, to stdout."""

    async def read(client: CyclrClient, limiter: Limiter) -> Connector | str:
        catalogue = CatalogueReader(client, limiter.one)
        account_id = account or await catalogue.first_account()
        if account_id is None:
            return NO_ACCOUNT
        return await catalogue.resolve(account_id, ConnectorRef(name))

    with failures_in_words(nothing_done="No template was written."), _tended_home() as home:
        found = ask(home, read)
    if not isinstance(found, Connector):
        say(found)
        raise typer.Exit(NOTHING_DONE)
    write_data(template(found))
    require_whole_output()


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
