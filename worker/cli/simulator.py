"""`cyclr-bulk simulator`."""

import errno
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.terminal import NOTHING_DONE, end_loading, say, tell
from worker.simulator.sample import sample_credentials, sample_csv, sample_world
from worker.simulator.server import serve
from worker.simulator.world import World

LOOPBACK = "127.0.0.1"
EXAMPLES = """\b
Examples:
  cyclr-bulk simulator --port 8765 --sample 100 --file accounts.csv
  cyclr-bulk simulator --sample 100 --template-first
  cyclr-bulk simulator --sample 100 --switch masks_sensitive=always"""

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
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Write the rows for the sample's accounts to it."),
    ] = None,
    template_first: Annotated[
        bool,
        typer.Option(
            "--template-first",
            help="In the sample, many connectors are there already, as templates leave them: without a "
            "credential, under another Name, with an old key.",
        ),
    ] = False,
    switch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="How it behaves where nobody knows how Cyclr does; again for each. "
            "GET /_sim/switches lists them.",
        ),
    ] = None,
) -> None:
    """Run a stand-in for Cyclr on this machine, in memory, until Ctrl-C."""
    if not sample and (file is not None or template_first):
        raise typer.BadParameter("expected --sample N beside it.", param_hint="--file and --template-first")
    world = sample_world(sample, is_template_first=template_first) if sample else World()
    _set_switches(world, switch or ())
    if file is not None:
        _write_sample(file, sample_csv(sample, is_template_first=template_first))

    def ready(base_url: str) -> None:
        tell(f"The simulator listens on {base_url}")
        if file is not None:
            say(f"The rows for its accounts are in {file}.")
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
        serve(port, host=host, world=world, ready=ready)
    except OSError as error:
        reason = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
        where = f"Port {port}" if host == LOOPBACK else f"{host}, port {port},"
        say(f"{where} cannot be used: {reason}. Name another with --port; 0 takes any free one.")
        raise typer.Exit(NOTHING_DONE) from None
    except UnicodeError:  # of the rules for names of hosts, before anybody is asked for it
        say(f"{host} cannot be used: expected an address or the name of a host.")
        raise typer.Exit(NOTHING_DONE) from None


def _set_switches(world: World, asked: Sequence[str]) -> None:
    """Raises: typer.BadParameter."""
    for text in asked:
        name, _, value = text.partition("=")
        try:
            world.switches.set({name: _value(value)})
        except ValueError as error:
            raise typer.BadParameter(f"{error}.", param_hint="--switch") from None


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _write_sample(path: Path, text: str) -> None:
    """Writes no file that is there. Raises: typer.Exit."""
    try:
        with path.open("x", encoding="utf-8", newline="") as out:
            out.write(text)
    except FileExistsError:
        if path.is_file() and path.read_bytes() == text.encode():
            return
        say(f"{path} is there already and is left as it is. Name another file with --file.")
        raise typer.Exit(NOTHING_DONE) from None
    except OSError as error:
        say(f"{path} cannot be written: {error.strerror}.")
        raise typer.Exit(NOTHING_DONE) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
