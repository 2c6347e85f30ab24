"""`cyclr-bulk connectors` and `cyclr-bulk template`."""

import json

import typer

from worker.cli.exits import NOTHING_DONE, failures_in_words, say
from worker.cli.session import Session
from worker.cyclr.catalogue import first_account, iter_connectors, resolve
from worker.cyclr.client import CyclrClient
from worker.cyclr.limiter import Limiter
from worker.domain.connectors import Connector, ConnectorRef
from worker.intake import template
from worker.settings import load_settings

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
        found = session.ask(read)
    if found is None:
        say(NO_ACCOUNT)
        raise typer.Exit(NOTHING_DONE)
    if as_json:
        typer.echo(json.dumps([connector.to_json() for connector in found], indent=2, ensure_ascii=False))
        return
    for connector in found:
        typer.echo(_in_words(connector))
    typer.echo(f"{len(found):,} {'connector' if len(found) == 1 else 'connectors'}.")


def template_command(name: str, account: str | None) -> None:
    async def read(client: CyclrClient, limiter: Limiter) -> Connector | str:
        account_id = account or await first_account(client, limiter.one)
        if account_id is None:
            return NO_ACCOUNT
        return await resolve(client, limiter.one, account_id, ConnectorRef(name))

    with failures_in_words(nothing_done="No template was written."), _session() as session:
        found = session.ask(read)
    if not isinstance(found, Connector):
        say(found)
        raise typer.Exit(NOTHING_DONE)
    typer.echo(template(found), nl=False)


def _session() -> Session:
    settings = load_settings()
    settings.require_cyclr()
    return Session(settings, needs_workers=False)


def _in_words(connector: Connector) -> str:
    lines = [
        f"{connector.name}  {connector.version or '(no version)'}  id {connector.release_id}  {connector.status}"
    ]
    lines += [f"    method    {m.name or m.auth_type} ({m.auth_type})  {m.id}" for m in connector.methods]
    for parameter in connector.account_properties:
        notes = ["optional" if parameter.is_optional else "required"]
        notes += ["sensitive"] if parameter.is_sensitive else []
        choices = f"  one of: {', '.join(parameter.choices)}" if parameter.choices else ""
        lines.append(f"    property  {parameter.target_name}  {', '.join(notes)}{choices}")
    return "\n".join(lines)
