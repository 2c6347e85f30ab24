"""`cyclr-bulk new-sealing-key`, `reseal` and `distrust`: what an operator does now and then."""

import base64
import os
import secrets

import typer

from worker.cli.exits import SOME_FAILED, failures_in_words, require_whole_output, say, tell
from worker.cli.progress import Activity
from worker.cli.workplace import opened_place
from worker.clock import Clock
from worker.domain.wording import counted
from worker.store.steering import distrust, reseal

NOTHING_CHANGED = "Nothing was changed."


def new_sealing_key_command() -> None:
    name = f"k{Clock().now():%y%m%d}-{secrets.token_hex(2)}"
    tell(f"{name}:{base64.b64encode(os.urandom(32)).decode()}")
    require_whole_output()


def reseal_command() -> None:
    with failures_in_words(nothing_done=NOTHING_CHANGED), opened_place() as place, Activity() as activity:
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


def distrust_command() -> None:
    with failures_in_words(nothing_done=NOTHING_CHANGED), opened_place() as place:
        marked = distrust(place.database.engine)
    verb = "is" if marked == 1 else "are"
    tell(f"{counted(marked, 'unfinished row')} {verb} looked for before anything is sent.")
