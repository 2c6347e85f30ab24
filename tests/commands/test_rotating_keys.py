"""The recipe for rotating keys does what its page says: the commands are those that are printed there."""

import csv
import re
import shlex
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.end_to_end.processes.commands import Command, Terminal, eventually
from tests.end_to_end.processes.evidence import watch_counters
from tests.end_to_end.processes.site import CONNECTOR, Site, account_ids, open_site
from worker.simulator.world import Install, World
from worker.store.session import reading
from worker.store.tables import items
from worker.store.upkeep import wipe_old_secrets

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PAGE = Path(__file__).parents[2] / "docs" / "run-and-update.md"
ACCOUNTS = account_ids(200)
OLD, NEW = "old-key-of-{}-11aa", "new-key-of-{}-22bb"


def typed_on_the_page() -> list[str]:
    """What the recipe has its reader type, in order."""
    recipe = PAGE.read_text(encoding="utf-8").split("## Rotate keys\n", 1)[1].split("\n## ", 1)[0]
    return [
        line for block in re.findall(r"```sh\n(.*?)```", recipe, re.DOTALL) for line in block.splitlines()
    ]


def have_old_keys(world: World) -> None:
    [release] = world.releases_named(CONNECTOR)
    for account_id in ACCOUNTS:
        old = Install(
            CONNECTOR, auth_value=OLD.format(account_id), properties=[("WebhookSecret", "stays-33cc")]
        )
        world.add_installed(account_id, release, old)


def write_keys(site: Site) -> None:
    with (site.folder / "keys.csv").open("w", newline="", encoding="utf-8") as out:
        lines = csv.writer(out)
        lines.writerow(["account_id", "connector", "api_key"])
        lines.writerows([each, CONNECTOR, NEW.format(each)] for each in ACCOUNTS)
    site.secrets |= {made.format(each) for made in (OLD, NEW) for each in ACCOUNTS}


def states_at_cyclr(world: World) -> dict[str, list[dict[str, str | None]]]:
    """All that each account holds."""
    return {
        each: [held.state() for held in world.account_connectors(world.get_account(each))]
        for each in ACCOUNTS
    }


def has_key(state: dict[str, str | None]) -> str:
    return str(state["AuthValue"])


def rotated(site: Site) -> int:
    return sum(effect.kind == "changed" for effect in site.simulator.ledger.effects)


def agrees(site: Site, line: str) -> Terminal:
    """Typed at a terminal, where the question is answered with yes."""
    terminal = Terminal(line, env=site.environment(), folder=site.folder)
    terminal.read_until("[y/N]")
    terminal.type("y\n")
    return terminal


def ends(site: Site, command: Command) -> int:
    return command.wait(meanwhile=partial(watch_counters, site))


def test_the_recipe_rotates_every_key_whatever_dies_in_between(tmp_path: Path) -> None:
    check, first, rest, again = typed_on_the_page()
    with open_site(tmp_path, ACCOUNTS) as site:
        site.change(have_old_keys)
        write_keys(site)
        before = site.change(states_at_cyclr)

        checked = site.start(*shlex.split(check)[1:])
        assert (checked.wait(), checked.out.splitlines()[-1].strip()) == (0, rest), checked.err

        terminal = agrees(site, first)
        assert terminal.wait() == 3, terminal.screen
        shown = re.sub(r"\s+", " ", terminal.screen)
        assert "Update the first 5 of 200 connectors at" in shown
        assert re.search(
            r"At most 200 values that are there are overwritten; what they were is kept until \d{4}-", shown
        )
        assert "5 updated, 0 failed, 195 not done yet." in shown
        assert "changed: api_key (5)" in shown
        assert rest in shown
        assert rotated(site) == 5

        killed = site.start(*shlex.split(rest)[1:], "--yes")
        eventually(lambda: rotated(site) >= 60, "some keys are rotated", every_s=0.01)
        killed.send(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        assert rotated(site) < 200

        last = site.start(*shlex.split(rest)[1:], "--yes")
        assert ends(site, last) == 0, last.err
        assert last.out.splitlines()[:2] == ["200 updated, 0 failed.", "  changed:    api_key (200)"]

        # By the ledger: each account holds the one connector with the new key, and nothing else of it was changed.
        after = site.change(states_at_cyclr)
        assert {each: [has_key(state) for state in held] for each, held in after.items()} == {
            each: [NEW.format(each)] for each in ACCOUNTS
        }
        assert [{**state, "AuthValue": None} for held in after.values() for state in held] == [
            {**state, "AuthValue": None} for held in before.values() for state in held
        ]
        assert Counter(effect.kind for effect in site.simulator.ledger.effects if effect.by == "caller") == {
            "changed": rotated(site)
        }
        # A row that was in flight may have been set twice, to the same key.
        assert 200 <= rotated(site) <= 220

        assert (kept(site), sealed(site)) == (200, 0)
        assert wipe_old_secrets(site.engine, retention_h=72) == 0
        assert wipe_old_secrets(site.engine, retention_h=0) == 200
        assert kept(site) == 0

        once_more = site.start(*shlex.split(again)[1:], "--yes")
        assert ends(site, once_more) == 2
        assert "empty the cell to leave the credential as it is" in once_more.err
        seen = "".join(command.out + command.err for command in site.commands) + terminal.screen
        seen += "".join(path.read_text("utf-8") for path in tmp_path.glob("*.results*.csv"))
        assert [secret for secret in site.secrets if secret in seen] == []


def kept(site: Site) -> int:
    """Rows of which is kept what they have overwritten."""
    with reading(site.engine) as connection:
        return int(connection.execute(select(func.count()).where(items.c.undo.is_not(None))).scalar_one())


def sealed(site: Site) -> int:
    """Rows whose own keys are kept."""
    with reading(site.engine) as connection:
        return int(connection.execute(select(func.count()).where(items.c.sealed.is_not(None))).scalar_one())


def test_a_key_that_is_not_taken_ends_with_1_and_what_to_type(tmp_path: Path) -> None:
    """Rows that fail are in the result file, with their keys for a while; it is typed as the page says."""
    _, _, rest, again = typed_on_the_page()
    with open_site(tmp_path, ACCOUNTS) as site:
        site.change(have_old_keys)
        site.change(
            lambda world: world.remove(
                gone := world.get_account(ACCOUNTS[3]), world.account_connectors(gone)[0]
            )
        )
        write_keys(site)
        command = site.start(*shlex.split(rest)[1:], "--yes")
        assert ends(site, command) == 1, command.err
        assert command.out.splitlines()[0] == "199 updated, 1 failed."
        assert "not_there" in command.out
        assert command.err.splitlines()[-2:] == [
            "To install what is not there:",
            "  cyclr-bulk run keys.results.csv",
        ]
        assert site.simulator.ledger.effects_of("installed") == []
        mended = site.start("run", "keys.results.csv", "--yes")
        assert ends(site, mended) == 0, mended.err
        assert mended.out.splitlines()[1] == "1 created, 0 failed, 199 done by an earlier job."
        assert again == "cyclr-bulk update keys.results.csv"
