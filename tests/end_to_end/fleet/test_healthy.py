"""Whether a worker lives is told by what it says itself, and nobody steers workers through Redis."""

import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import delete, update

from tests.end_to_end.fleet.fleet import OTHER_CLIENT_ID, Fleet, Said
from tests.end_to_end.processes.commands import eventually
from tests.started import run_process
from worker.domain.targets import instance_key
from worker.store.instances import new_worker_id, note_sighting
from worker.store.session import db_now, writing
from worker.store.tables import sightings

CELERY = str(Path(sys.executable).parent / "celery")


class OtherCyclr:
    """A Cyclr for which no process of the fleet works, so that the test says when a worker of it was seen."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._instance_id = instance_key(fleet.simulator.base_url, OTHER_CLIENT_ID)

    def ask(self) -> Said:
        return self._fleet.say("healthy", CYCLR_CLIENT_ID=OTHER_CLIENT_ID)

    def see(self, machine: str, *, seconds_ago: float) -> None:
        worker_id = new_worker_id(machine)
        note_sighting(self._fleet.engine, worker_id, self._instance_id)

        def move(connection) -> None:
            past = db_now(connection) - timedelta(seconds=seconds_ago)
            connection.execute(
                update(sightings).where(sightings.c.worker_id == worker_id).values(seen_at=past)
            )

        writing(self._fleet.engine, move)

    def forget(self) -> None:
        mine = delete(sightings).where(sightings.c.instance_id == self._instance_id)
        writing(self._fleet.engine, lambda connection: connection.execute(mine))


@pytest.fixture
def other(fleet: Fleet) -> Iterator[OtherCyclr]:
    cyclr = OtherCyclr(fleet)
    yield cyclr
    cyclr.forget()


def test_a_worker_that_has_never_had_anything_to_do_is_healthy(fleet: Fleet) -> None:
    eventually(lambda: fleet.say("healthy").code == 0, "the worker has said that it lives")
    host = fleet.settings["CYCLR_API_URL"].removeprefix("http://")
    assert f"A worker of {socket.gethostname()} for {host} was seen " in fleet.said[-1].out
    assert fleet.simulator.ledger.calls == []


def test_a_worker_that_says_nothing_for_a_minute_is_not(other: OtherCyclr) -> None:
    other.see(socket.gethostname(), seconds_ago=90)
    said = other.ask()
    assert (said.code, said.out) == (1, "")
    assert "was seen lately: the last one 9" in said.err
    other.see(socket.gethostname(), seconds_ago=20)
    assert other.ask().code == 0


def test_a_worker_of_another_machine_or_of_another_cyclr_says_nothing_about_this_one(
    other: OtherCyclr,
) -> None:
    assert other.ask().code == 1
    other.see("another-machine", seconds_ago=0)
    said = other.ask()
    assert said.code == 1
    assert "was seen lately: none within the hour." in said.err


def test_a_database_that_is_away_restarts_no_worker(fleet: Fleet) -> None:
    said = fleet.say("healthy", DATABASE_URL="postgresql://cyclr:hunter2@127.0.0.1:1/cyclr")
    assert (said.code, said.out) == (0, "")
    assert "the database cyclr at 127.0.0.1 cannot be used: " in said.err
    assert "no worker is better for a restart" in said.err
    assert "hunter2" not in said.err


def test_a_check_without_its_settings_says_which(fleet: Fleet) -> None:
    said = fleet.say("healthy", DATABASE_URL=None)
    assert said.code == 2
    assert "DATABASE_URL is not set" in said.err


def test_whoever_can_write_to_redis_steers_no_worker(fleet: Fleet) -> None:
    words = ["-A", "worker.celery_app", "inspect", "ping", "--timeout", "2"]
    asked = run_process(
        [CELERY, *words],
        env=fleet.environment(),
        cwd=fleet.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode != 0
    assert "No nodes replied" in asked.stdout + asked.stderr
    with Redis.from_url(fleet.valkey.url) as redis:
        assert redis.keys("_kombu.binding.*.pidbox") == []
