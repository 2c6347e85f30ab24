"""Several sessions on one database at once: who waits for whom, and that nobody is told of a deadlock."""

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import event, select, text, update

from tests.integration.store.databases import (
    NEVER,
    Loads,
    ago,
    assert_counters_hold,
    change_items,
    end,
    hold,
    only_postgres,
    planned,
    rows_of,
    take,
    url_of,
    wait_until_blocked,
)
from worker.domain.states import Code, JobState, Outcome, PauseReason
from worker.domain.verdicts import CalledOff, GiveUp, Installed, LookFirst, Released, RetryAt, Verdict
from worker.store.claiming import count_due
from worker.store.instances import ensure_instance
from worker.store.job_states import cancel_job, pause_job, resume_job
from worker.store.jobs import get_job, list_unfinished_jobs
from worker.store.session import Engine, open_engine, reading
from worker.store.tables import instances, items, jobs
from worker.store.upkeep import cancel_queued, finish_jobs, rescue, wipe_old_secrets

CREATED = Installed(Outcome.CREATED, 6508, True)
REFUSED = GiveUp(Code.REFUSED, "no such thing", 400)
RETRY = RetryAt(0, Code.UNREACHABLE, "refused")
LOOK = LookFirst(0, Code.NO_ANSWER, "cut")
PAUSING = RetryAt(0, Code.REFUSED, "no", 401, costs_attempt=False, pause=PauseReason.PARTNER_CREDENTIALS)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


# Who waits for whom


@only_postgres
def test_a_claim_leaves_alone_what_another_session_has_locked(engine: Engine, loads: Loads):
    job_id = loads.job(6)
    with engine.begin() as other:
        other.execute(select(items.c.id).where(items.c.row_number.in_([2, 4, 6])).with_for_update()).all()
        assert sorted(item.row_number for item in take(engine, 4)) == [3, 5, 7]
    assert sorted(item.row_number for item in take(engine, 9)) == [2, 4, 6]
    assert {row.state for row in rows_of(engine, job_id)} == {"running"}


@only_postgres
def test_a_claim_lasts_on_the_databases_clock_whatever_the_machines_own_says(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    a_day_ahead = (
        "CREATE FUNCTION fast.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
        " AS $$SELECT pg_catalog.clock_timestamp() + interval '1 day'$$"
    )
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA fast"))
        connection.execute(text(a_day_ahead))
    ahead = open_engine(
        engine.url.update_query_dict({"options": "-c search_path=fast,public,pg_catalog"}).render_as_string(
            hide_password=False
        )
    )
    assert len(take(ahead, claim_s=60)) == 1
    ahead.dispose()
    [row] = rows_of(engine, job_id)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA fast CASCADE"))
    assert timedelta(hours=23) < row.claim_until - datetime.now(UTC) < timedelta(hours=25)


@only_postgres
def test_a_settle_locks_its_jobs_in_one_order_also_those_that_it_only_pauses(engine: Engine, loads: Loads):
    lower, higher = sorted([loads.job(2), loads.job(2, start=100)])
    taken = take(engine)
    # Tried before: their counters stand still, the first job's row is changed by the pause alone.
    change_items(engine, lower, tried=True)
    pairs = [(item, PAUSING if item.job_id == lower else CREATED) for item in taken]
    with engine.begin() as other:
        other.execute(select(jobs.c.id).where(jobs.c.id == lower).with_for_update()).all()
        thread = in_thread(lambda: end(engine, *pairs))
        wait_until_blocked(engine)
        # It waits for the first, and holds nothing that one who has the first could want.
        other.execute(select(jobs.c.id).where(jobs.c.id == higher).with_for_update(nowait=True)).all()
    thread.join(20)
    assert get_job(engine, lower).pause_reason is PauseReason.PARTNER_CREDENTIALS
    assert get_job(engine, higher).installed == 2


@only_postgres
def test_secrets_of_a_row_that_a_person_retries_at_this_moment_are_kept(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    end(engine, *((item, REFUSED) for item in take(engine)))
    change_items(engine, job_id, settled_at=ago(hours=100))
    with engine.begin() as person:
        person.execute(update(items).where(items.c.row_number == 2).values(state="queued"))
        assert wipe_old_secrets(engine, retention_h=72) == 1
    assert [row.sealed is None for row in rows_of(engine, job_id)] == [False, True]


@only_postgres
def test_an_instance_that_another_process_is_making_is_waited_for(engine: Engine):
    with engine.begin() as other:
        other.execute(instances.insert().values(id="shared", api_host="first.example.com"))
        thread = in_thread(lambda: ensure_instance(engine, "shared", "second.example.com"))
        wait_until_blocked(engine)
    thread.join(20)
    with reading(engine) as connection:
        assert connection.execute(select(instances.c.api_host)).scalars().all() == ["first.example.com"]


def test_a_job_that_is_cancelled_while_it_is_resumed_stays_cancelled(engine: Engine, loads: Loads):
    job_id = loads.job(2_500, first=0)
    pause_job(engine, job_id, PauseReason.PERSON)
    canceller = open_engine(url_of(engine))
    checkouts: list[int] = []

    def cancel_after_a_piece(*_: object) -> None:
        checkouts.append(1)
        if len(checkouts) == 3:  # one to see how far to go, one for each piece
            assert cancel_job(canceller, job_id)

    event.listen(engine, "checkout", cancel_after_a_piece)
    assert resume_job(engine, job_id, first=None) is False
    event.remove(engine, "checkout", cancel_after_a_piece)
    assert len(checkouts) == 3
    canceller.dispose()
    job = get_job(engine, job_id)
    assert (job.state, job.held) == (JobState.CANCELLED, 0)
    while cancel_queued(engine):
        pass
    assert get_job(engine, job_id).cancelled == 2_500


def test_a_resume_that_was_cut_off_between_two_pieces_goes_on(engine: Engine, loads: Loads):
    job_id = loads.job(2_500, first=0)
    pause_job(engine, job_id, PauseReason.PERSON)
    begun: list[int] = []

    def die_after_a_piece(connection) -> None:
        if not connection.get_execution_options().get("reads_only"):
            begun.append(1)
            if len(begun) == 2:
                raise KeyboardInterrupt

    event.listen(engine, "begin", die_after_a_piece, insert=True)
    with pytest.raises(KeyboardInterrupt):
        resume_job(engine, job_id, first=None)
    event.remove(engine, "begin", die_after_a_piece)
    job = get_job(engine, job_id)
    assert (job.state, job.held) == (JobState.PAUSED, 1_500)
    assert take(engine, is_idle=True) == []
    assert resume_job(engine, job_id, first=None)
    assert get_job(engine, job_id).held == 0
    assert count_due(engine, "instance-a", limit=9_000) == 2_500


# Eight sessions that do everything at once

ROUNDS = 25
LONGER_S = float(os.environ.get("STORE_SESSIONS_S", "0"))  # so many seconds instead of so many rounds


class Session:
    """One of eight: it does what workers, the sweep and people do, in an order of chance."""

    def __init__(self, engine: Engine, loads: Loads, seed: int) -> None:
        self.engine = engine
        self.loads = loads
        self.seed = seed
        self.chance = random.Random(seed)

    def run(self) -> None:
        until = time.monotonic() + LONGER_S
        rounds = 0
        while time.monotonic() < until if LONGER_S else rounds < ROUNDS:
            rounds += 1
            deed = self.chance.choice([self.work] * 6 + [self.clock] * 2 + [self.person] * 2 + [self.submit])
            deed()

    def work(self) -> None:
        taken = take(self.engine, self.chance.randint(1, 20), is_idle=self.chance.random() < 0.3)
        for item in self.chance.sample(taken, min(2, len(taken))):
            hold(self.engine, item, claim_s=60)
        self.chance.shuffle(taken)
        settled = taken[: self.chance.randint(0, len(taken))]
        end(self.engine, *((item, self.verdict(is_called_off=item.is_called_off)) for item in settled))
        for item in taken[len(settled) :]:  # their worker dies
            ran_out = update(items).where(items.c.id == item.id, items.c.claim_id == item.claim_id)
            with self.engine.begin() as connection:
                connection.execute(ran_out.values(claim_until=ago(minutes=1)))

    def verdict(self, *, is_called_off: bool) -> Verdict:
        if is_called_off:
            return self.chance.choice([CREATED, CalledOff(), LOOK])
        unstorable = replace(REFUSED, message="half a character: \ud800")
        return self.chance.choice([CREATED, CREATED, REFUSED, RETRY, LOOK, PAUSING, Released(), unstorable])

    def clock(self) -> None:
        rescue(self.engine, due_in_s=0)
        cancel_queued(self.engine)
        finish_jobs(self.engine, pause_above_percent=NEVER)
        wipe_old_secrets(self.engine, retention_h=0)

    def person(self) -> None:
        unfinished = list_unfinished_jobs(self.engine)
        if not unfinished:
            return
        job = self.chance.choice(unfinished)
        if job.state is JobState.PAUSED:
            resume_job(self.engine, job.id, first=self.chance.choice([None, 5]))
        elif job.state is JobState.RUNNING:
            deed = self.chance.choice([partial(pause_job, reason=PauseReason.PERSON), cancel_job])
            deed(self.engine, job.id)

    def submit(self) -> None:
        rows = [planned(n, target=f"{self.seed}-{self.chance.random()}") for n in range(2, 32)]
        self.loads.job(rows, first=self.chance.choice([None, 10]))


def settle_everything(engine: Engine) -> None:
    """Once nothing fails any more, every job ends."""
    for job in list_unfinished_jobs(engine):
        pause_job(engine, job.id, PauseReason.PERSON)
        resume_job(engine, job.id, first=None)
    with engine.begin() as connection:
        ran_out = update(items).where(items.c.state == "running")
        connection.execute(ran_out.values(claim_until=ago(minutes=1)))
    while rescue(engine, due_in_s=-1):
        pass
    while cancel_queued(engine):
        pass
    while taken := take(engine, 200, is_idle=True):
        end(engine, *((item, CalledOff() if item.is_called_off else CREATED) for item in taken))
    finish_jobs(engine, pause_above_percent=NEVER)


def count_deadlocks(engine: Engine) -> int:
    """So many as the server has ended in this database; SQLite knows none."""
    if engine.dialect.name == "sqlite":
        return 0
    counted = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    with reading(engine) as connection:
        return int(connection.execute(counted).scalar_one())


@pytest.mark.timeout(120 + 2 * LONGER_S)
def test_eight_sessions_at_once_keep_every_rule_and_hear_of_no_deadlock(engine: Engine, loads: Loads):
    deadlocks_before = count_deadlocks(engine)
    for n in range(4):
        loads.job(100, start=1_000 * (n + 1))
    engines = [open_engine(url_of(engine)) for _ in range(8)]
    sessions = [Session(mine, Loads(mine), seed) for seed, mine in enumerate(engines)]
    with ThreadPoolExecutor(8) as threads:
        for ended in [threads.submit(session.run) for session in sessions]:
            ended.result()  # raises what that session was told
    for mine in engines:
        mine.dispose()
    assert_counters_hold(engine)
    settle_everything(engine)
    assert_counters_hold(engine)
    assert list_unfinished_jobs(engine) == []
    assert count_deadlocks(engine) == deadlocks_before
    with reading(engine) as connection:
        states = set(connection.execute(select(items.c.state).distinct()).scalars())
        assert states == {"installed", "failed", "cancelled"}
        assert connection.execute(select(jobs.c.id).where(jobs.c.finished_at.is_(None))).all() == []
