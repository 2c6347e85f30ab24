"""Loads at the same time: of other rows, of the same ones, of a process that was stopped."""

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import func, select, text

from tests.integration.store.databases import (
    CONNECTOR,
    Loads,
    ago,
    assert_counters_hold,
    change_job,
    end,
    only_postgres,
    only_sqlite,
    path_of,
    planned,
    rows_of,
    take,
    url_of,
    wait_until,
    wait_until_blocked,
)
from tests.started import start_process
from worker.domain.states import Code, JobState, Outcome
from worker.domain.verdicts import GiveUp, Installed, LookFirst
from worker.store import memory
from worker.store.faults import DatabaseAway, lost_database_in_words
from worker.store.job_states import cancel_job
from worker.store.jobs import get_job, list_unfinished_jobs
from worker.store.loading import PIECE, Loader, LoadLost
from worker.store.memory import MustGiveWay, OtherLoad, Waiting, find_load
from worker.store.session import Engine, open_engine, reading
from worker.store.steering import retry_job
from worker.store.tables import IS_LIVE, items, jobs, unloaded_rows
from worker.store.upkeep import cancel_queued

CREATED = Installed(Outcome.CREATED, 6508, True)
REFUSED = GiveUp(Code.REFUSED, "no such thing", 400)
SILENT_S = 1.5


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LOADER_SILENT_S", SILENT_S)


class SlowLoader:
    """Another process that has loaded a piece, and goes on when it is told."""

    def __init__(self, engine: Engine, first: int, last: int) -> None:
        self.process = start_process(
            [
                sys.executable,
                "-m",
                "tests.integration.store.slow_loader",
                url_of(engine),
                str(first),
                str(last),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        word, self.job_id = self._line().split()
        assert word == "holding"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def end(self) -> str:
        """What it said at its end."""
        line = self._line()
        assert self.process.wait(30) == 0
        return line


@contextmanager
def slow_loader(engine: Engine, first: int, last: int) -> Iterator[SlowLoader]:
    loader = SlowLoader(engine, first, last)
    try:
        yield loader
    finally:
        loader.process.kill()
        loader.process.communicate()


def state_of(engine: Engine, job_id: str) -> tuple[JobState, int, int]:
    job = get_job(engine, job_id)
    return job.state, job.total, job.refused


def assert_live_once(engine: Engine) -> None:
    """By the rows themselves: the index might have been lost."""
    live = select(items.c.target).where(IS_LIVE).group_by(items.c.target).having(func.count() > 1)
    with reading(engine) as connection:
        assert connection.execute(live).all() == []


# A loader that was stopped


def test_a_load_of_other_rows_goes_on_beside_one_that_was_stopped(engine: Engine, loads: Loads):
    with slow_loader(engine, 2, 9) as other:
        other.stop()
        began = time.monotonic()
        mine = loads.job(PIECE + 3, start=100)
        assert time.monotonic() - began < 60
        assert state_of(engine, mine) == (JobState.RUNNING, PIECE + 3, 0)
        assert find_load(engine, other.job_id) is not None
        other.go_on()
        assert other.end() == "running"
    assert state_of(engine, other.job_id) == (JobState.RUNNING, 8, 0)


def test_a_load_that_needs_rows_of_a_stopped_one_says_whose_and_takes_them_and_what_wakes_up_does_no_harm(
    engine: Engine, loads: Loads
):
    told: list[OtherLoad] = []
    with slow_loader(engine, 2, 9) as other:
        other.stop()
        mine = loads.job(20, waiting=Waiting(engine, lambda load, _waited_s: told.append(load)))
        assert state_of(engine, mine) == (JobState.RUNNING, 20, 0)
        assert {load.job_id for load in told} == {other.job_id}
        assert told[0].source_name == "file.csv"
        assert told[0].loader == f"process {other.process.pid} on {socket.gethostname()}"
        assert [job.id for job in list_unfinished_jobs(engine)] == [mine]
        other.go_on()
        assert other.end() == (
            f"LoadLost: job {other.job_id} was loaded too slowly and was taken for abandoned; nothing of it was installed,"
            " run it again"
        )
    assert [job.id for job in list_unfinished_jobs(engine)] == [mine]
    assert len(rows_of(engine, mine)) == 20
    assert_live_once(engine)


def test_what_a_killed_loader_left_is_in_nobodys_way_for_long(engine: Engine, loads: Loads):
    with slow_loader(engine, 2, 9) as other:
        other.process.kill()
        other.process.wait()
        mine = loads.job(20)
    assert [job.id for job in list_unfinished_jobs(engine)] == [mine]
    assert len(rows_of(engine, mine)) == 20


@only_postgres
def test_a_loader_that_was_stopped_within_a_piece_is_not_waited_for_for_ever(
    engine: Engine, loads: Loads, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    loads.job(1, start=900)  # an instance
    other = open_engine(url_of(engine))
    monkeypatch.setattr(
        "worker.store.loading.PIECE_LIMITS", {"lock_timeout": "200ms", "statement_timeout": "20s"}
    )
    stopped = Loads(other).loader()
    with other.connect() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '2s'"))
        stopped._items = [stopped._to_item(planned(2), account_exists=True)]
        stopped._write_piece(connection)  # and nothing more is heard of it
        mine = loads.job(3, waiting=Waiting(engine, lambda load, _waited_s: told.append(load.job_id)))
        connection.invalidate()
    assert set(told) == {stopped.job_id}
    assert state_of(engine, mine) == (JobState.RUNNING, 3, 0)
    other.dispose()


@only_sqlite
def test_who_keeps_a_home_locked_is_named_while_it_does(engine: Engine, loads: Loads):
    told: list[OtherLoad] = []
    stopped = loads.loader()
    other = sqlite3.connect(path_of(engine), timeout=0, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # and nothing more is heard of it

    def end_it(load: OtherLoad, waited_s: float) -> None:
        told.append(load)
        if waited_s >= 2:
            other.execute("ROLLBACK")

    mine = loads.job(3, waiting=Waiting(engine, end_it))
    other.close()
    assert [(load.job_id, load.is_writing) for load in told] == [(stopped.job_id, True)] * 2
    assert told[0].loader == f"process {os.getpid()} on {socket.gethostname()}"
    assert state_of(engine, mine) == (JobState.RUNNING, 3, 0)


@only_sqlite
def test_a_home_that_stays_locked_is_told_in_words(
    engine: Engine, loads: Loads, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("worker.store.loading.LOCKED_MS", 5)
    other = sqlite3.connect(path_of(engine), timeout=0, isolation_level=None)
    loads.job(1)
    other.execute("BEGIN IMMEDIATE")
    with (
        pytest.raises(
            DatabaseAway, match=r"Another process is in the middle of a write to it: is one stopped\?"
        ),
        lost_database_in_words(engine),
    ):
        loads.loader()
    other.close()


def test_a_loader_that_waits_is_heard_of_meanwhile(engine: Engine, loads: Loads):
    older, younger = loads.loader(), loads.loader()
    younger.add(planned(2), account_exists=True)
    younger.write()
    change_job(engine, older.job_id, created_at=ago(minutes=1))
    older = resumed(engine, loads, older)
    older.add(planned(2), account_exists=True)
    thread = threading.Thread(target=older.finish)
    thread.start()
    seen = find_load(engine, older.job_id)
    assert seen is not None
    heard: set[object] = set()

    def is_heard_again() -> bool:
        younger._heard_at = older._clock.moment()._replace(elapsing_s=0, wall_s=0)
        younger._be_heard()
        now = find_load(engine, older.job_id)
        heard.add(now and now.seen_at)
        return len(heard) > 2

    wait_until(is_heard_again)
    younger.abandon()
    thread.join(60)
    assert state_of(engine, older.job_id) == (JobState.RUNNING, 1, 0)


def resumed(engine: Engine, loads: Loads, loader: Loader) -> Loader:
    """The same loader, which knows when its job was made."""
    with reading(engine) as connection:
        loader._began_at = connection.execute(
            select(jobs.c.created_at).where(jobs.c.id == loader.job_id)
        ).scalar_one()
    return loader


# Loads that meet


def test_a_load_under_way_is_waited_for_and_its_rows_are_refused_with_its_name(engine: Engine, loads: Loads):
    waits = threading.Event()
    with slow_loader(engine, 2, 9) as other, ThreadPoolExecutor(1) as threads:
        waiting = Waiting(engine, lambda _load, _waited_s: waits.set())
        mine = threads.submit(loads.job, 20, waiting=waiting)
        assert waits.wait(60)
        other.go_on()
        assert other.end() == "running"
        job_id = mine.result(60)
    assert state_of(engine, other.job_id) == (JobState.RUNNING, 8, 0)
    assert state_of(engine, job_id) == (JobState.RUNNING, 12, 8)
    with reading(engine) as connection:
        told = (
            connection.execute(select(unloaded_rows.c.problems).order_by(unloaded_rows.c.row_number))
            .scalars()
            .all()
        )
    assert told == [[{"column": None, "reason": f"live in {other.job_id}"}]] * 8


def test_of_two_that_meet_each_other_the_younger_gives_way(engine: Engine, loads: Loads):
    older, younger = loads.loader(), loads.loader()
    change_job(engine, older.job_id, created_at=ago(minutes=1))
    older = resumed(engine, loads, older)
    older.add(planned(2), account_exists=True)
    older.write()
    younger.add(planned(3), account_exists=True)
    younger.write()
    waits = threading.Event()
    older._waiting = Waiting(engine, lambda _load, _waited_s: waits.set())
    older.add(planned(3), account_exists=True)
    thread = threading.Thread(target=older.finish)
    thread.start()
    assert waits.wait(60)
    younger.add(planned(2), account_exists=True)
    with pytest.raises(MustGiveWay) as caught:
        younger.write()
    assert caught.value.load.job_id == older.job_id
    younger.abandon()
    thread.join(60)
    assert state_of(engine, older.job_id) == (JobState.RUNNING, 2, 0)


def test_rows_that_another_job_got_since_they_were_planned_leave_the_others_and_the_first(
    engine: Engine, loads: Loads
):
    loads.job(2)
    mine = loads.job(5, first=2)
    assert state_of(engine, mine) == (JobState.RUNNING, 3, 2)
    assert [row.row_number for row in rows_of(engine, mine)] == [4, 5, 6]
    assert get_job(engine, mine).held == 1
    assert [row.due_at.year == 9999 for row in rows_of(engine, mine)] == [False, False, True]
    assert_counters_hold(engine)


def test_a_wait_ends_with_what_it_is_told(engine: Engine, loads: Loads):
    class Enough(Exception):
        pass

    def not_for_long(_load: OtherLoad, waited_s: float) -> None:
        if waited_s > 0.3:
            raise Enough

    with slow_loader(engine, 2, 9) as other:
        with pytest.raises(Enough):
            loads.job(20, waiting=Waiting(engine, not_for_long))
        assert [job.id for job in list_unfinished_jobs(engine)] == [other.job_id]


# A look where it was tried


@pytest.mark.parametrize("verdict", [CREATED, REFUSED])
def test_a_target_that_was_tried_between_plan_and_load_is_looked_for(engine: Engine, loads: Loads, verdict):
    loader = loads.loader()  # its rows are planned: nobody knows of their targets
    loads.job(2)
    end(engine, *((item, verdict) for item in take(engine)))
    for number in (2, 3, 4):
        loader.add(planned(number), account_exists=True)
    loader.finish()
    assert [row.must_look for row in rows_of(engine, loader.job_id)] == [True, True, False]


def test_a_target_that_may_have_been_sent_before_its_job_was_cancelled_is_looked_for(
    engine: Engine, loads: Loads
):
    loader = loads.loader()
    other = loads.job(2)
    [first, second] = take(engine)
    end(engine, (first, LookFirst(0, Code.NO_ANSWER, "cut")))
    cancel_job(engine, other)
    end(
        engine,
        (second, REFUSED),
        *((item, GiveUp(Code.OUTCOME_UNKNOWN, "maybe", None)) for item in take(engine)),
    )
    for number in (2, 3):
        loader.add(planned(number), account_exists=True)
    loader.finish()
    assert [row.must_look for row in rows_of(engine, loader.job_id)] == [True, True]


def test_a_target_that_was_surely_not_sent_is_not_looked_for(engine: Engine, loads: Loads):
    loader = loads.loader()
    cancel_job(engine, loads.job(2))
    while cancel_queued(engine):
        pass
    for number in (2, 3):
        loader.add(planned(number), account_exists=True)
    loader.finish()
    assert [row.must_look for row in rows_of(engine, loader.job_id)] == [False, False]


@only_postgres
def test_a_target_that_is_settled_in_the_moment_of_the_load_is_looked_for(engine: Engine, loads: Loads):
    loads.job(1)
    [item] = take(engine)
    loader = loads.loader()
    loader.add(planned(2), account_exists=True)
    with engine.begin() as settling:
        settling.execute(
            items.update().where(items.c.id == item.id).values(state="failed", tried=True, claim_id=None)
        )
        thread = threading.Thread(target=loader.write)
        thread.start()
        wait_until_blocked(engine)
    thread.join(60)
    assert [row.must_look for row in rows_of(engine, loader.job_id)] == [True]


# Many at once


@pytest.mark.timeout(240)
def test_many_loads_of_overlapping_rows_lose_nothing_and_no_target_is_live_twice(
    engine: Engine, loads: Loads
):
    rounds, loaders, targets = 3, 5, 60
    for seed in range(rounds):
        chance = random.Random(seed)
        files = [chance.sample(range(2, targets), 30) for _ in range(loaders)]
        engines = [open_engine(url_of(engine)) for _ in files]
        with ThreadPoolExecutor(loaders + 1) as threads:
            loading = [
                threads.submit(job_in_pieces, mine, rows) for mine, rows in zip(engines, files, strict=True)
            ]
            while not all(each.done() for each in loading):
                assert_live_once(engine)
                pairs = [(item, chance.choice([CREATED, REFUSED])) for item in take(engine, 10)]
                end(engine, *pairs)
                for job in list_unfinished_jobs(engine):
                    if job.state is JobState.RUNNING and job.failed and chance.random() < 0.2:
                        retry_job(engine, job.id)
            ids = [each.result() for each in loading]
        for mine in engines:
            mine.dispose()
        assert_live_once(engine)
        assert_counters_hold(engine)
        for job_id, rows in zip(ids, files, strict=True):
            loaded = Counter(row.row_number for row in rows_of(engine, job_id))
            job = get_job(engine, job_id)
            assert (job.total, job.total + job.refused) == (len(loaded), len(rows))
            assert max(loaded.values(), default=1) == 1
        assert_looked_for(engine)


def job_in_pieces(engine: Engine, rows: list[int]) -> str:
    """A job whose pieces have five rows, so that loads meet in the middle of each other."""
    loads, waiting, ids = Loads(engine), Waiting(engine), []

    def load() -> None:
        loader = loads.loader(waiting=waiting)
        try:
            for n, number in enumerate(rows, start=1):
                loader.add(planned(number), account_exists=True)
                if n % 5 == 0:
                    loader.write()
            loader.finish()
        except BaseException:
            loader.abandon()
            raise
        ids.append(loader.job_id)

    waiting.see_through(load)
    return ids[-1]


def assert_looked_for(engine: Engine) -> None:
    """Of the items of one target each but the first tried one had to look, as none of these tests' verdicts takes that away."""
    with reading(engine) as connection:
        rows = connection.execute(select(items).order_by(items.c.target, items.c.id)).all()
    tried: set[str] = set()
    for row in rows:
        if row.state in ("queued", "running") and row.target in tried:
            assert row.must_look, row
        if row.tried or row.state == "installed":
            tried.add(row.target)


# The load of a job that was given up


def test_no_step_of_a_loader_that_was_taken_for_dead_changes_anything(engine: Engine, loads: Loads):
    loader = loads.loader()
    change_job(engine, loader.job_id, loader_seen_at=ago(seconds=SILENT_S + 1))
    Waiting(engine).wait_for(lost(engine, loader))
    loader.add(planned(2), account_exists=True)
    for step in (loader.write, loader.finish, lambda: loader.add_connector("other", CONNECTOR)):
        with pytest.raises(LoadLost):
            step()
    assert list_unfinished_jobs(engine) == []


def lost(engine: Engine, loader: Loader) -> OtherLoad:
    found = find_load(engine, loader.job_id)
    assert found is not None
    return found


def test_one_that_is_heard_of_in_the_moment_it_is_taken_for_dead_goes_on(
    engine: Engine, loads: Loads, monkeypatch: pytest.MonkeyPatch
):
    loader = loads.loader()
    change_job(engine, loader.job_id, loader_seen_at=ago(minutes=1))
    delete_load = memory.delete_load

    def just_before(*given: Any) -> bool:
        change_job(engine, loader.job_id, loader_seen_at=ago(seconds=0))
        return delete_load(*given)

    monkeypatch.setattr(memory, "delete_load", just_before)

    class Enough(Exception):
        pass

    def once(_load: OtherLoad, _waited_s: float) -> None:
        raise Enough

    with pytest.raises(Enough):
        Waiting(engine, once).wait_for(lost(engine, loader))
    loader.finish()
    assert get_job(engine, loader.job_id).state is JobState.COMPLETED
