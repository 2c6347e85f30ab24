"""When workers were last seen."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from tests.integration.store.databases import INSTANCE, Loads, take
from worker.store.instances import find_seen_ago_s, forget_sighting, note_sighting, read_totals
from worker.store.session import Engine, reading, writing
from worker.store.tables import items, sightings
from worker.store.upkeep import rescue


def move(engine: Engine, worker_id: str, **ago: float) -> None:
    past = datetime.now(UTC) - timedelta(**ago)
    mine = update(sightings).where(sightings.c.worker_id == worker_id).values(seen_at=past)
    writing(engine, lambda connection: connection.execute(mine))


def test_the_worker_that_was_seen_last_counts(engine: Engine):
    assert find_seen_ago_s(engine, INSTANCE) is None
    for worker_id in ("one", "two"):
        note_sighting(engine, worker_id, INSTANCE)
    move(engine, "one", minutes=10)
    move(engine, "two", minutes=5)
    seen_ago_s = find_seen_ago_s(engine, INSTANCE)
    assert seen_ago_s is not None
    assert 299 < seen_ago_s < 360
    assert find_seen_ago_s(engine, "another") is None
    note_sighting(engine, "one", INSTANCE)
    now_s = find_seen_ago_s(engine, INSTANCE)
    assert now_s is not None
    assert now_s < 60


def test_a_worker_that_ends_is_not_seen_any_more(engine: Engine):
    note_sighting(engine, "one", INSTANCE)
    forget_sighting(engine, "one")
    forget_sighting(engine, "one")
    assert find_seen_ago_s(engine, INSTANCE) is None


def test_workers_that_were_killed_are_forgotten(engine: Engine):
    note_sighting(engine, "killed", INSTANCE)
    move(engine, "killed", hours=2)
    note_sighting(engine, "new", INSTANCE)
    with reading(engine) as connection:
        assert connection.execute(select(sightings.c.worker_id)).scalars().all() == ["new"]


def test_rescues_are_counted_for_their_instance(engine: Engine, loads: Loads):
    loads.job(3)
    assert len(take(engine, 2)) == 2
    past = datetime.now(UTC) - timedelta(seconds=1)
    ran_out = update(items).where(items.c.claim_id.is_not(None)).values(claim_until=past)
    writing(engine, lambda connection: connection.execute(ran_out))
    assert rescue(engine, due_in_s=0) == 2
    totals = read_totals(engine, INSTANCE)
    assert (totals.rescues, totals.unfinished, totals.jobs) == (2, 3, {"running": 1})
    assert read_totals(engine, "another").rescues == 0
