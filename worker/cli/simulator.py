"""`cyclr-bulk simulator`."""

import errno
import ipaddress
from typing import Annotated

import typer

from worker.cli.terminal import NOTHING_DONE, end_loading, say, tell
from worker.simulator.sample import sample_credentials, sample_world
from worker.simulator.server import serve

LOOPBACK = "127.0.0.1"
EXAMPLES = """\b
Example:
  cyclr-bulk simulator --port 8765 --sample 100"""

app = typer.Typer(rich_markup_mode=None)


@app.command("simulator", epilog=EXAMPLES)
def simulator_command(
    port: Annotated[int, typer.Option(min=0, max=65_535, metavar="P", help="0: any free one.")] = 8765,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Where it listens. It has no password: let nobody else reach it."
        ),
    ] = LOOPBACK,
    sample: Annotated[
        int,
        typer.Option(
            min=0, max=100_000, metavar="N", help="Begin with the demo's world of so many accounts."
        ),
    ] = 0,
) -> None:
    """Run a stand-in for Cyclr on this machine, in memory, until Ctrl-C."""

    def ready(base_url: str) -> None:
        tell(f"The simulator listens on {base_url}")
        if sample:
            credentials = sample_credentials()
            tell("To use it, set these; it accepts no other credentials:")
            tell(f"  CYCLR_API_URL={base_url}")
            tell(f"  CYCLR_CLIENT_ID={credentials.client_id}")
            tell(f"  CYCLR_CLIENT_SECRET={credentials.client_secret}")
        else:
            tell("It accepts any client id and secret, and is empty: POST /_sim/seed fills it.")
        tell("Ctrl-C ends it, and all that was installed in it is gone.")
        if not is_loopback(host):
            say(f"Warning: whoever reaches {host} can read and change it. Put nothing real into it.")

    end_loading()
    try:
        serve(port, host=host, world=sample_world(sample) if sample else None, ready=ready)
    except OSError as error:
        reason = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
        where = f"Port {port}" if host == LOOPBACK else f"{host}, port {port},"
        say(f"{where} cannot be used: {reason}. Name another with --port; 0 takes any free one.")
        raise typer.Exit(NOTHING_DONE) from None
    except UnicodeError:  # of the rules for names of hosts, before anybody is asked for it
        say(f"{host} cannot be used: expected an address or the name of a host.")
        raise typer.Exit(NOTHING_DONE) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
