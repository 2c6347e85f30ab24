"""What can be typed about the HTTP API and the dashboard."""

# In the texts below \b keeps the lines of a paragraph as they are.

from typing import Annotated

import typer

from worker.cli.arguments import JsonOption
from worker.domain.scopes import Scope

app = typer.Typer()
keys = typer.Typer(
    help="The API keys of the HTTP API and the dashboard.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(keys, name="api-keys", short_help="Make, list and revoke API keys.")

SERVE_EXAMPLES = """\b
Examples:
  cyclr-bulk serve
  cyclr-bulk serve --port 9000"""

CREATE_EXAMPLES = """\b
Examples:
  cyclr-bulk api-keys create "Ada, onboarding" --scope write
  KEY=$(cyclr-bulk api-keys create monitoring --expires 90d)"""


@app.command(short_help="Serve the HTTP API and the dashboard.", epilog=SERVE_EXAMPLES)
def serve(
    host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Where it listens. Default: this machine only; in a deployment every address.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, metavar="P", envvar="PORT", help="0: any free one.")
    ] = 8080,
) -> None:
    """Serve the HTTP API and the dashboard until it is stopped.

    Of the deployment that DATABASE_URL names; else of the home, with its Valkey and its workers beside it.
    """
    from worker.cli.serve import serve_command

    serve_command(host, port)


@keys.command(short_help="Make an API key.", epilog=CREATE_EXAMPLES)
def create(
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
    from worker.cli.api_keys import create_command

    create_command(name, scope, expires)


@keys.command("list", short_help="List all API keys.")
def list_(as_json: JsonOption = False) -> None:
    """List all API keys: what they allow and how long. A key itself is never shown again."""
    from worker.cli.api_keys import list_command

    list_command(as_json=as_json)


@keys.command(short_help="Revoke an API key.")
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.", show_default=False)],
) -> None:
    """Revoke an API key, now and for good. Sessions begun with it end too."""
    from worker.cli.api_keys import revoke_command

    revoke_command(key)
