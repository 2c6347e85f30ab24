"""`cyclr-bulk healthy`: whether a worker of this machine lives, by what its processes say in the database every few seconds."""

import socket

import typer

from worker.bootstrap.database import open_database
from worker.cli.exits import SOME_FAILED, failures_in_words, say, tell
from worker.cli.given_settings import read_settings
from worker.store.readiness import DatabaseAway, lost_database_in_words
from worker.store.session import Engine
from worker.store.sightings import find_seen_ago_s

# A process says every 10 s that it lives; one that finds the database slow, or just back, says so some seconds later.
SEEN_WITHIN_S = 60.0


def healthy_command() -> None:
    with failures_in_words(nothing_done="Nothing was asked."):
        settings = read_settings(needs_cyclr=True, needs_deployment=True)
        database = open_database(settings)
        machine = socket.gethostname()
        try:
            seen_ago_s = _find_seen_ago_s(database.engine, database.instance_id, machine)
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


def _find_seen_ago_s(engine: Engine, instance_id: str, machine: str) -> float | None:
    """Raises: DatabaseAway."""
    with lost_database_in_words(engine):
        return find_seen_ago_s(engine, instance_id, machine=machine)
