"""What Celery's main process makes sure of before it forks."""

import gc
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.bootstrap import starting, worker_process
from worker.bootstrap.worker_process import require_worker_can_start
from worker.store.readiness import require_ready, upgrade
from worker.store.session import Engine, open_engine

REDIS_URL = "redis://127.0.0.1:1/0"  # nobody is asked


@pytest.fixture
def database_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a home's database that has no tables yet, in the environment of a worker."""
    url = f"sqlite:///{tmp_path / 'cyclr-bulk.db'}"
    settings = {
        "CYCLR_API_URL": "https://api.example.com",
        "CYCLR_CLIENT_ID": "partner",
        "CYCLR_CLIENT_SECRET": "secret",
        "CYCLR_BULK_SEALING_KEYS": "k1:MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=",
        "DATABASE_URL": url,
        "REDIS_URL": REDIS_URL,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return url


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Nothing of what other tests have made may stay frozen."""
    yield
    gc.unfreeze()
    gc.enable()


@pytest.fixture(autouse=True)
def hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process takes over as a whole is given back."""
    for module, name in (
        (sys, "excepthook"),
        (sys, "unraisablehook"),
        (threading, "excepthook"),
        (logging, "lastResort"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(logging, "captureWarnings", lambda _: None)


def make_tables(database_url: str) -> None:
    engine = open_engine(database_url)
    upgrade(engine)
    engine.dispose()


def test_a_worker_of_a_home_waits_for_the_tables_that_its_command_makes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def look(engine: Engine) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            make_tables(database_url)
        require_ready(engine)

    monkeypatch.setattr(starting, "require_ready", look)
    require_worker_can_start()
    assert looks == 3


def test_a_worker_whose_home_never_gets_tables_says_so(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker_process, "HOME_IS_READY_WITHIN_S", 0.1)
    with pytest.raises(SystemExit, match="1"):
        require_worker_can_start()
    said = json.loads(capsys.readouterr().err)
    assert (said["event"], said["process"]) == ("cannot_start", "worker")
    assert "is not of this version of cyclr-bulk yet" in said["reason"]


def test_the_collector_that_rested_while_the_worker_was_loaded_goes_on(database_url: str) -> None:
    make_tables(database_url)
    gc.disable()
    require_worker_can_start()
    assert gc.isenabled()
