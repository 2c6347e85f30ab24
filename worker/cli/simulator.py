"""`cyclr-bulk simulator`."""

import errno
import ipaddress

import typer

from worker.cli.exits import NOTHING_DONE, say, tell
from worker.cli.loading import end_loading
from worker.simulator.sample import sample_credentials, sample_world
from worker.simulator.server import serve

LOOPBACK = "127.0.0.1"


def simulator_command(host: str, port: int, sample: int) -> None:
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


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
