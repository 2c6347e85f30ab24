"""`cyclr-bulk api-keys create`, `list` and `revoke`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from worker.cli.options import JsonOption
from worker.cli.place import opened_place
from worker.cli.terminal import (
    NOTHING_CHANGED,
    NOTHING_DONE,
    failures_in_words,
    require_whole_output,
    say,
    tell,
    tell_json,
)
from worker.domain.words import counted
from worker.store.api_keys import LONGEST_NAME, ApiKey, Scope, create_key, list_keys, revoke_key

CREATE_EXAMPLES = """\b
Examples:
  cyclr-bulk api-keys create "Ada, onboarding" --scope write
  KEY=$(cyclr-bulk api-keys create monitoring --expires 90d)"""
NEVER = "never"
UNITS = {"h": "hours", "d": "days"}

app = typer.Typer(
    help="The API keys of the HTTP API and the dashboard.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("create", short_help="Make an API key.", epilog=CREATE_EXAMPLES)
def create_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Whose it is; shown beside each job.", show_default=False)
    ],
    scope: Annotated[
        Scope, typer.Option(help="`read`: see jobs. `write`: hand in and steer them too.")
    ] = Scope.READ,
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="After so many days or hours (90d, 12h), or never.")
    ] = "365d",
) -> None:
    """Make an API key and print it on stdout. It is shown this once."""
    with failures_in_words():
        name, lasts = _checked_name(name), _lasts(expires)
        with opened_place() as place:
            key, text = create_key(place.database.engine, name=name, scope=scope, lasts=lasts)
        until = f"until {_day(key.expires_at)}" if key.expires_at else "until it is revoked"
        say(f"API key {key.id} for '{key.name}', scope {key.scope}, {until}.")
        say("It is shown this once, and only its hash is kept: put it where secrets belong.")
        tell(text)
        require_whole_output()


@app.command("list", short_help="List all API keys.")
def list_command(as_json: JsonOption = False) -> None:
    """List all API keys: what they allow and how long. A key itself is never shown again."""
    with failures_in_words(), opened_place() as place:
        keys = list_keys(place.database.engine)
    if as_json:
        tell_json([_fields(key) for key in keys], indent=2)
        require_whole_output()
        return
    for key in keys:
        tell(f"{key.id}  {key.scope:<5}  {_standing(key):<22}  {key.name}")
    require_whole_output()
    say(f"{counted(len(keys), 'API key')}.")


@app.command("revoke", short_help="Revoke an API key.")
def revoke_command(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.", show_default=False)],
) -> None:
    """Revoke an API key, now and for good. Sessions begun with it end too."""
    with failures_in_words(), opened_place() as place:
        was_there = revoke_key(place.database.engine, key_id)
    if not was_there:
        say(
            f"There is no API key {key_id} here. `cyclr-bulk api-keys list` lists those that are. {NOTHING_CHANGED}"
        )
        raise typer.Exit(NOTHING_DONE)
    say(f"API key {key_id} is revoked: it opens nothing any more, and the sessions begun with it have ended.")


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise typer.BadParameter(
            f"expected a name of 1 to {LONGEST_NAME} printable characters", param_hint="NAME"
        )
    return name


def _lasts(expires: str) -> timedelta | None:
    """Raises: typer.BadParameter."""
    if expires == NEVER:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})([hd])", expires)
    if found is None:
        raise typer.BadParameter(f"expected 90d, 12h or never, got '{expires}'", param_hint="--expires")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def _standing(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    if key.expires_at is None:
        return "does not expire"
    has_expired = not key.is_valid(datetime.now(UTC))
    return f"{'expired' if has_expired else 'until'} {_day(key.expires_at)}"


def _fields(key: ApiKey) -> dict[str, str | None]:
    return {
        "id": key.id,
        "name": key.name,
        "scope": key.scope,
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
