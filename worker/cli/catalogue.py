"""`cyclr-bulk connectors` and `cyclr-bulk template`."""

from collections.abc import Iterator

import typer

from worker.cli.asking import ask
from worker.cli.exits import (
    NOTHING_DONE,
    failures_in_words,
    require_whole_output,
    say,
    say_all,
    tell,
    tell_json,
)
from worker.cli.given_settings import read_settings
from worker.cli.session import Session
from worker.cli.streams import write_data
from worker.cyclr.catalogue import first_account, iter_connectors, resolve
from worker.cyclr.client import CyclrClient
from worker.cyclr.limiter import Limiter
from worker.domain.connectors import Connector, ConnectorRef
from worker.domain.wording import counted
from worker.intake import template

NO_ACCOUNT = (
    "Cyclr shows its catalogue to existing accounts only, and this instance has none yet: create one first."
)


def connectors_command(query: str | None, account: str | None, *, as_json: bool) -> None:
    async def read(client: CyclrClient, limiter: Limiter) -> list[Connector] | None:
        account_id = account or await first_account(client, limiter.one)
        if account_id is None:
            return None
        found = iter_connectors(client, limiter.one, account_id, query)
        return [connector async for connector in found]

    with failures_in_words(nothing_done="Nothing was listed."), _session() as session:
        found = ask(session, read)
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


def template_command(name: str, account: str | None) -> None:
    async def read(client: CyclrClient, limiter: Limiter) -> Connector | str:
        account_id = account or await first_account(client, limiter.one)
        if account_id is None:
            return NO_ACCOUNT
        return await resolve(client, limiter.one, account_id, ConnectorRef(name))

    with failures_in_words(nothing_done="No template was written."), _session() as session:
        found = ask(session, read)
    if not isinstance(found, Connector):
        say(found)
        raise typer.Exit(NOTHING_DONE)
    write_data(template(found))
    require_whole_output()


def _session() -> Session:
    return Session(read_settings(needs_cyclr=True), needs_workers=False)


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
