"""`cyclr-bulk demo` leaves nothing running, however it ends, and shows a person what happens."""

import re
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.end_to_end.processes.commands import Terminal, eventually
from tests.end_to_end.processes.place import Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# The demo reads none of these.
NOT_FOR_THE_DEMO = {
    "CYCLR_API_URL": "https://api.example.invalid",
    "CYCLR_CLIENT_ID": "somebody",
    "CYCLR_CLIENT_SECRET": "real-secret-b27d",
    "CYCLR_CALLS_PER_SECOND": "not a number",
    "DATABASE_URL": "postgresql://db.example.invalid/cyclr",
    "REDIS_URL": "redis://redis.example.invalid",
}


def installed_so_far(folder: Path) -> int:
    """What the counters of the demo's job say; 0 before there is one."""
    for path in folder.glob("cyclr-bulk-demo-*/home/cyclr-bulk.db"):
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path)) as database:
            return sum(installed for (installed,) in database.execute("SELECT installed FROM jobs"))
    return 0


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 3), (signal.SIGTERM, 3), (signal.SIGHUP, 3), (signal.SIGKILL, -9)],
)
def test_nothing_is_left_running_however_the_demo_is_ended(tmp_path, number, exit_code):
    place = Place(tmp_path)
    try:
        command = place.start("demo", "--accounts", "1000", **NOT_FOR_THE_DEMO)
        eventually(lambda: installed_so_far(tmp_path) > 0, "the demo has installed something", every_s=0.1)
        # The command, its simulator, its Valkey, Celery and two worker processes.
        assert len(place.processes()) == 6
        command.send(number)
        assert command.wait() == exit_code, command.err
        place.wait_until_nothing_runs()
        assert installed_so_far(tmp_path) < 900
    finally:
        place.close()


def test_a_terminal_shows_a_progress_bar_and_a_summary(tmp_path):
    place = Place(tmp_path)
    terminal = Terminal("cyclr-bulk demo --accounts 60", env=place.environment(), folder=place.folder)
    try:
        assert terminal.wait() == 0, terminal.screen
        place.wait_until_nothing_runs()
    finally:
        place.close()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.screen)
    assert "A demo: 60 made-up accounts" in shown
    assert "━" in shown
    assert re.search(r"━ +\d+ of 60   \d+\.\d/s", shown)
    assert re.search(r"━ +60 of 60[^\n]*\n\d+ done   \d+ failed   0 retrying", shown)
    assert re.search(
        r"\n\d+ created, (\d+ [a-z ]+, )*\d+ failed\.\r?\n  changed: [^\n]+\n  waiting: +\d+ rows? for the customer",
        shown,
    )
    assert re.search(r"\n  filled in:  it was there, and what was missing was set\r?\n", shown)
    assert "Failed, by reason:" in shown
    assert "Results, one line for every row:" in shown
    assert "cyclr-bulk run accounts.csv --first 5" in shown
