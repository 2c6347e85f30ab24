"""`cyclr-bulk simulator`."""

import typer

from worker.cli.exits import NOTHING_DONE, say
from worker.simulator.sample import sample_credentials, sample_world
from worker.simulator.server import serve

LISTENS_ON = "The simulator listens on "


def simulator_command(port: int, sample: int) -> None:
    def ready(base_url: str) -> None:
        typer.echo(f"{LISTENS_ON}{base_url}")
        if sample:
            credentials = sample_credentials()
            typer.echo("It accepts only these made-up credentials:")
            typer.echo(f"  CYCLR_CLIENT_ID={credentials.client_id}")
            typer.echo(f"  CYCLR_CLIENT_SECRET={credentials.client_secret}")
        else:
            typer.echo("It accepts any client id and secret, and is empty: POST /_sim/seed fills it.")
        typer.echo("Ctrl-C ends it, and all that was installed in it is gone.")

    try:
        serve(port, world=sample_world(sample) if sample else None, ready=ready)
    except OSError as error:
        say(f"port {port}: {error.strerror or error}. Choose another: cyclr-bulk simulator --port {port + 1}")
        raise typer.Exit(NOTHING_DONE) from None
