"""`cyclr-bulk new-sealing-key`, `reseal`, `distrust` and `healthy`: what an operator does and asks now and then."""

import base64
import os
import secrets
import socket

import typer

from worker.bootstrap.place import open_database
from worker.cli.place import opened_place, read_settings
from worker.cli.terminal import SOME_FAILED, failures_in_words, require_whole_output, say, tell
from worker.cli.watching import Activity
from worker.clock import Clock
from worker.domain.words import counted
from worker.store.faults import DatabaseAway, lost_database_in_words
from worker.store.instances import find_seen_ago_s
from worker.store.steering import distrust, reseal

app = typer.Typer(rich_markup_mode=None)
# A process says every 10 s that it lives; one that finds the database slow, or just back, says so some seconds later.
SEEN_WITHIN_S = 60.0
KEY_EXAMPLES = """\b
Example:
  cyclr-bulk new-sealing-key"""
RESEAL_EXAMPLES = """\b
Example:
  cyclr-bulk reseal

\b
Exit codes:
  0  all that is kept is sealed with the first key; the others may go
  1  some rows cannot be opened with any key
  2  a setting is wrong: nothing was changed"""
HEALTHY_EXAMPLES = """\b
Example:
  cyclr-bulk healthy

\b
Exit codes:
  0  a worker of this machine was seen lately, or the database cannot be asked
  1  none was seen
  2  a setting is wrong"""
DISTRUST_EXAMPLES = """\b
Example:
  cyclr-bulk distrust"""


@app.command("new-sealing-key", epilog=KEY_EXAMPLES)
def new_sealing_key_command() -> None:
    """Print a new key for CYCLR_BULK_SEALING_KEYS. It is a secret, and stored nowhere."""
    name = f"k{Clock().now():%y%m%d}-{secrets.token_hex(2)}"
    tell(f"{name}:{base64.b64encode(os.urandom(32)).decode()}")
    require_whole_output()


@app.command("reseal", epilog=RESEAL_EXAMPLES)
def reseal_command() -> None:
    """Seal all credentials that are kept with the first key of CYCLR_BULK_SEALING_KEYS. Workers may go on."""
    with failures_in_words(), opened_place() as place, Activity() as activity:
        done, broken = reseal(
            place.database.engine,
            place.database.sealer,
            lambda count: activity.say(f"sealing: {counted(count, 'row')}"),
        )
    tell(f"{counted(done, 'row')} sealed with the first key.")
    if broken:
        say(
            f"{counted(broken, 'row')} cannot be opened with any of the keys: leave the old keys in place, and"
        )
        say("add the one that is missing.")
        raise typer.Exit(SOME_FAILED)
    say("Everything that is kept is sealed with the first key.")


@app.command("distrust", epilog=DISTRUST_EXAMPLES)
def distrust_command() -> None:
    """Have every unfinished row looked for in Cyclr before anything is sent.

    For after a failover or a restored backup that may have lost commits. Stop the workers first.
    """
    with failures_in_words(), opened_place() as place:
        marked = distrust(place.database.engine)
    verb = "is" if marked == 1 else "are"
    tell(f"{counted(marked, 'unfinished row')} {verb} looked for before anything is sent.")


@app.command("healthy", epilog=HEALTHY_EXAMPLES)
def healthy_command() -> None:
    """Say whether a worker of this machine was seen lately: for whoever restarts what hangs.

    A database that is away is no reason to restart a worker, and says nothing about it.
    """
    with failures_in_words(nothing_done="Nothing was asked."):
        settings = read_settings(needs_cyclr=True, needs_deployment=True)
        database = open_database(settings)
        machine = socket.gethostname()
        try:
            with lost_database_in_words(database.engine):
                seen_ago_s = find_seen_ago_s(database.engine, database.instance_id, machine=machine)
        except DatabaseAway as error:
            # Whoever restarts what is not well would restart every worker, and take from them what they hold.
            say(f"{error} Whether a worker lives is not known, and no worker is better for a restart.")
            return
        finally:
            database.engine.dispose()
    if seen_ago_s is None or seen_ago_s > SEEN_WITHIN_S:
        when = "none within the hour" if seen_ago_s is None else f"the last one {seen_ago_s:.0f} s ago"
        say(f"No worker of {machine} for {settings.api_host} was seen lately: {when}.")
        raise typer.Exit(SOME_FAILED)
    tell(f"A worker of {machine} for {settings.api_host} was seen {seen_ago_s:.0f} s ago.")
