"""Processes that cannot work say why, once, and end."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.fleet.fleet import Fleet, open_fleet
from tests.end_to_end.processes.commands import Terminal
from tests.postgres import Databases

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def reason_of(err: str) -> str:
    """Why the process did not start: the last line of its log, in which there is nothing else than JSON."""
    *_, last = [json.loads(line) for line in err.splitlines()]
    assert last["event"] == "cannot_start"
    return str(last["reason"])


HOSTILE_PASSWORD = "hunter2/with@slash"


@pytest.fixture(scope="module")
def unreleased(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Before the release: the database is empty, and stays so, since nothing that these tests start gets far."""
    with open_fleet(tmp_path_factory.mktemp("unreleased"), databases) as fleet:
        yield fleet


@pytest.fixture
def bare(unreleased: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Settings that a test may change for itself, and commands typed in a folder without `.env`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(unreleased, "settings", dict(unreleased.settings))
    for name in [name for name in os.environ if name.startswith(("CYCLR_", "DATABASE_URL", "REDIS_URL"))]:
        monkeypatch.delenv(name)
    return unreleased


def test_a_worker_without_its_settings_names_all_of_them_and_starts_no_process(bare: Fleet) -> None:
    for name in ("CYCLR_API_URL", "CYCLR_BULK_SEALING_KEYS"):
        bare.settings.pop(name)
    bare.settings["CYCLR_BURST"] = "many"
    worker = bare.launch("worker")
    assert worker.wait() == 1
    assert reason_of(worker.err).splitlines() == [
        "Settings (environment or .env) need attention:",
        "  CYCLR_BURST: expected a valid integer, unable to parse string as an integer",
        "  CYCLR_API_URL is not set: the API domain of your instance, such as https://api.cyclr.com",
        "  CYCLR_BULK_SEALING_KEYS is not set: make one with `cyclr-bulk new-sealing-key`",
    ]
    assert "ForkPoolWorker" not in worker.err


def test_a_worker_before_the_release_says_what_to_do(bare: Fleet) -> None:
    worker = bare.launch("worker")
    assert worker.wait() == 1
    assert "bring it up to date with `alembic upgrade head`" in reason_of(worker.err)


@pytest.mark.parametrize("name", ["sweep", "web"])
def test_a_process_before_the_release_says_what_to_do(bare: Fleet, name: str) -> None:
    process = bare.launch(name, PORT="0")
    assert process.wait() == 2
    assert "bring it up to date with `alembic upgrade head`" in reason_of(process.err)


@pytest.mark.parametrize("command", [("jobs",), ("submit", "accounts.csv", "--yes")])
def test_a_command_before_the_release_says_what_to_do(bare: Fleet, command: tuple[str, ...]) -> None:
    Path("accounts.csv").write_text("account_id,connector\nsomebody,Northwind Mail\n")
    said = bare.say(*command)
    assert (said.code, said.out) == (2, "")
    assert "bring it up to date with `alembic upgrade head` (the `release` of the Procfile)" in said.err


@pytest.mark.parametrize("name", ["sweep", "serve"])
def test_at_a_terminal_a_process_says_in_words_why_it_does_not_start(bare: Fleet, name: str) -> None:
    bare.settings.pop("REDIS_URL")
    terminal = Terminal(f"{sys.executable} -m worker.cli {name}", env=bare.environment(), folder=bare.folder)
    assert terminal.wait() == 2
    assert "does not start. Settings (environment or .env) need attention:" in terminal.screen
    assert "REDIS_URL is not set: such as redis://host:6379/0" in terminal.screen


def test_a_process_without_its_settings_names_all_of_them(bare: Fleet) -> None:
    for name in ("REDIS_URL", "CYCLR_BULK_SEALING_KEYS"):
        bare.settings.pop(name)
    for process in (bare.launch("sweep"), bare.launch("web", PORT="0")):
        assert process.wait() == 2
        assert reason_of(process.err).splitlines() == [
            "Settings (environment or .env) need attention:",
            "  REDIS_URL is not set: such as redis://host:6379/0",
            "  CYCLR_BULK_SEALING_KEYS is not set: make one with `cyclr-bulk new-sealing-key`",
        ]


@pytest.mark.parametrize("command", [("jobs",), ("status", "261121-k3x9qd")])
def test_a_deployment_needs_its_redis_and_a_sealing_key(bare: Fleet, command: tuple[str, ...]) -> None:
    said = bare.say(*command, REDIS_URL=None, CYCLR_BULK_SEALING_KEYS=None)
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[:3] == [
        "Settings (environment or .env) need attention:",
        "  REDIS_URL is not set: such as redis://host:6379/0",
        "  CYCLR_BULK_SEALING_KEYS is not set: make one with `cyclr-bulk new-sealing-key`",
    ]


def test_a_sweep_without_a_deployment_names_the_way_without_one(bare: Fleet) -> None:
    bare.settings.pop("DATABASE_URL")
    sweep = bare.launch("sweep")
    assert sweep.wait() == 2
    assert (
        "  DATABASE_URL is not set: such as postgresql://user:password@host/database;"
        " without a deployment use `cyclr-bulk run`"
    ) in reason_of(sweep.err).splitlines()


@pytest.mark.parametrize("command", [("submit", "accounts.csv", "--yes")])
def test_without_a_deployment_the_way_without_one_is_named(bare: Fleet, command: tuple[str, ...]) -> None:
    Path("accounts.csv").write_text("account_id,connector\nsomebody,Northwind Mail\n")
    said = bare.say(*command, DATABASE_URL=None)
    assert (said.code, bare.simulator.ledger.calls) == (2, [])
    assert (
        "  DATABASE_URL is not set: such as postgresql://user:password@host/database;"
        " without a deployment use `cyclr-bulk run`"
    ) in said.err.splitlines()


def test_a_database_that_is_away_is_named_without_its_password(bare: Fleet) -> None:
    said = bare.say("jobs", DATABASE_URL="postgresql://cyclr:hunter2@127.0.0.1:1/cyclr?password=hunter3")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("the database cyclr at 127.0.0.1 cannot be used: ")
    assert said.err.splitlines()[-1] == "Nothing was changed."
    assert "hunter" not in said.err


def test_a_password_that_breaks_the_url_is_not_shown(bare: Fleet) -> None:
    said = bare.say("jobs", DATABASE_URL=f"postgresql://cyclr:{HOSTILE_PASSWORD}@host/cyclr")
    assert said.code == 2
    assert "DATABASE_URL: expected a URL such as postgresql://user:password@host/database" in said.err
    assert "hunter2" not in said.err
