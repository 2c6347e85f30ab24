"""The same commands where no deployment is named: on the home of `run`, without a Valkey, and mostly without Cyclr."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.cli.desk import Desk, Said, without_valkey, world
from worker.clock import Clock
from worker.embedded import Home
from worker.simulator.faults import refused
from worker.simulator.server import SimulatorThread

NOWHERE = {"CYCLR_API_URL": None, "CYCLR_CLIENT_ID": None, "CYCLR_CLIENT_SECRET": None}
PAUSED = "paused (the first rows asked for are done)"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "REDIS_URL", "CYCLR_BULK_SEALING_KEYS"):
        monkeypatch.delenv(name, raising=False)
    with SimulatorThread(world()) as simulator:
        desk = Desk(tmp_path, simulator)
        yield desk
        desk.assert_no_secret_was_said()


def here(desk: Desk, *words: object, **settings: str | None) -> Said:
    """A command that installs in this process."""
    with without_valkey():
        return desk.say(*words, **settings)


def begin(desk: Desk, *options: str) -> str:
    """The id of a job of four rows, of which the first is done."""
    file = desk.mail_file("acme", "globex", "initech", "umbrella")
    assert desk.say("run", file, "--yes", "--no-look", "--first", "1", *options).code == 3
    [job] = desk.results("accounts.results.csv")[:1]
    return job["_job"]


def test_a_mistaken_job_is_ended_and_forgotten_without_cyclr_and_its_rows_are_free(desk: Desk) -> None:
    job_id = begin(desk)
    [line] = desk.say("jobs", **NOWHERE).out.splitlines()
    assert line.startswith(f"{job_id}  ")
    assert line.endswith(f"  accounts.csv  {PAUSED}, 1 of 4 rows done")
    status = desk.say("status", job_id, **NOWHERE)
    assert (status.code, status.out.splitlines()[1]) == (0, "  1 created, 0 failed, 3 not done yet.")
    assert "  left:      0 in hand of a worker, 0 tried and to be tried again, 3 held back by --first" in (
        status.out.splitlines()
    )
    paused = desk.say("pause", job_id, **NOWHERE)
    assert paused.code == 2
    assert paused.err.startswith(f"Job {job_id} cannot be paused: it is {PAUSED}.")
    assert desk.say("forget", job_id, "--yes", **NOWHERE).code == 2

    cancelled = desk.say("cancel", job_id, **NOWHERE)
    assert (cancelled.code, cancelled.out) == (0, "")
    assert cancelled.err.splitlines() == [
        f"Cancelled: job {job_id} of accounts.csv, 4 of 4 rows done.",
        f"What is installed stays. The results: cyclr-bulk results {job_id} -o FILE",
    ]
    assert desk.say("results", job_id, "-o", "out.csv", **NOWHERE).out == "4 rows written to out.csv\n"
    assert [row["_state"] for row in desk.results("out.csv")] == ["done", *["cancelled"] * 3]

    assert desk.say("forget", job_id, **NOWHERE).code == 2  # nobody can be asked
    assert desk.say("forget", job_id, "--yes", **NOWHERE).code == 0
    assert desk.say("jobs", "--json", **NOWHERE).out == "[]\n"
    assert desk.say("run", desk.mail_file("globex", name="corrected.csv"), "--yes").code == 0
    assert desk.installs() == ["acme", "globex"]


def test_a_paused_job_goes_on_by_its_id_to_the_end_and_its_failed_row_once_more(desk: Desk) -> None:
    desk.fault(refused(403, "suspended"), call="install", account_id="globex", count=1)
    job_id = begin(desk)
    watched = desk.say("watch", job_id, **NOWHERE)
    assert watched.code == 3
    assert watched.err.splitlines()[-2:] == [
        f"  cyclr-bulk resume {job_id}",
        f"Results, one line for every row: cyclr-bulk results {job_id} -o FILE",
    ]
    elsewhere = here(desk, "resume", job_id, CYCLR_CLIENT_ID="somebody-else")
    assert elsewhere.code == 2
    assert "set CYCLR_API_URL and CYCLR_CLIENT_ID to those." in elsewhere.err
    assert desk.installs() == ["acme"]
    doubted = desk.say("distrust", **NOWHERE)
    assert doubted.out == "3 unfinished rows are looked for before anything is sent.\n"
    resumed = here(desk, "resume", job_id)
    assert (resumed.code, resumed.out.splitlines()[0]) == (1, "3 created, 1 failed.")
    assert resumed.err.splitlines()[-2] == f"  cyclr-bulk retry {job_id}"
    looked = {call.account_id for call in desk.simulator.ledger.calls_of("look")}
    assert looked == {"globex", "initech", "umbrella"}
    again = here(desk, "resume", job_id)
    assert again.code == 2
    assert f"Job {job_id} cannot be resumed: it is completed." in again.err

    retried = here(desk, "retry", job_id)
    assert (retried.code, retried.out) == (0, "4 created, 0 failed.\n")
    assert "1 row will be tried again; each account is looked into first." in retried.err.splitlines()
    assert sorted(desk.installs()) == ["acme", "globex", "initech", "umbrella"]
    nothing = here(desk, "retry", job_id)
    assert (nothing.code, nothing.out) == (2, "")


def test_asking_who_uses_a_home_takes_it_from_nobody(desk: Desk) -> None:
    path = Path(desk.settings["CYCLR_BULK_HOME"])
    home, other = Home(path, Clock()), Home(path, Clock())
    assert (home.is_in_use, other.is_in_use) == (False, False)
    assert home.try_own()
    assert (home.is_in_use, other.is_in_use) == (True, True)
    home.mark_stopped()
    home.release()
    assert other.is_in_use is False
    assert other.try_own()
    assert other.was_stopped_cleanly
    other.release()
