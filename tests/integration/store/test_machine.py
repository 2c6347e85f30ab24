"""The store under any order of what people, workers and the clock do, held against a model of every item."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, event, select, update

from tests.integration.store.databases import (
    ALL_ITEMS,
    ALL_JOBS,
    ALL_TALLIES,
    NEVER,
    SEALER,
    Loads,
    ago,
    assert_counters_hold,
    assert_rows_agree,
    change_items,
    end,
    hold,
    planned,
    take,
)
from worker.domain.states import Code, JobState, Outcome, PauseReason
from worker.domain.verdicts import CalledOff, GiveUp, Installed, LookFirst, Released, RetryAt, Verdict
from worker.store.claiming import ClaimedItem, Standing
from worker.store.job_states import cancel_job, pause_job, resume_job
from worker.store.jobs import get_job, list_unfinished_jobs
from worker.store.memory import DatabaseMemory
from worker.store.session import Engine, reading, writing
from worker.store.steering import Retried, WrongState, retry_job
from worker.store.tables import HELD_UNTIL, items, metadata
from worker.store.upkeep import cancel_queued, finish_jobs, rescue, wipe_old_secrets

TARGETS = [f"t{n}" for n in range(8)]
ARROWS = {
    JobState.RUNNING: {JobState.PAUSED, JobState.COMPLETED, JobState.CANCELLED},
    JobState.PAUSED: {JobState.RUNNING, JobState.COMPLETED, JobState.CANCELLED},
    JobState.COMPLETED: set(),
    JobState.CANCELLED: set(),
}
verdicts = st.sampled_from(
    [
        Installed(Outcome.CREATED, 6508, True),
        RetryAt(0, Code.UNREACHABLE, "refused"),
        RetryAt(0, Code.THROTTLED, "429", 429, costs_attempt=False),
        RetryAt(0, Code.REFUSED, "no", 401, costs_attempt=False, pause=PauseReason.PARTNER_CREDENTIALS),
        LookFirst(0, Code.NO_ANSWER, "cut"),
        LookFirst(0, Code.NAME_IN_USE, "in use", maybe_sent=False, costs_attempt=False),
        GiveUp(Code.REFUSED, "no", 400),
        GiveUp(Code.NAME_IN_USE, "another's"),
        GiveUp(Code.REFUSED, "half a character: \ud800", 400),
        GiveUp(Code.OUTCOME_UNKNOWN, "may be installed", is_absent=False),
        CalledOff(),
        Released(),
    ]
)


@dataclass
class Item:
    """What an item is to be like, by the rules as a person reads them."""

    job_id: str
    target: str
    must_look: bool
    state: str = "queued"
    maybe_sent: bool = False
    tried: bool = False
    attempts: int = 0
    deaths: int = 0
    claim_id: str | None = None
    sent: str | None = None

    def claim(self, claim_id: str) -> None:
        self.state, self.claim_id = "running", claim_id
        self.sent_before = self.sent
        self.sent = self.sent or ("nothing" if self.must_look else "connector")

    def prolong(self) -> None:
        self.sent = self.sent_before or "nothing"  # as it is noted: nothing since the claim

    def settle(self, verdict: Verdict) -> None:
        self.claim_id, self.sent = None, self.sent_before  # what it has sent itself is answered
        match verdict:
            case Released():
                self.state = "queued"
                return
            case RetryAt() | LookFirst():
                self.state = "queued"
                self.attempts += verdict.costs_attempt
                if isinstance(verdict, LookFirst):
                    self.must_look = True
                    self.maybe_sent = self.maybe_sent or verdict.maybe_sent
            case Installed():
                self.state, self.must_look = "installed", False
                self.attempts += 1
            case GiveUp():
                self.state, self.must_look = "failed", not verdict.is_absent
                self.attempts += 1
            case CalledOff():
                self.state, self.must_look = "cancelled", False
                self.attempts += 1
        self.tried = True

    def begin_anew(self) -> None:
        self.state, self.must_look = "queued", True
        self.tried, self.attempts, self.deaths = False, 0, 0

    def rescue(self) -> None:
        is_last_death = self.deaths >= 2
        self.claim_id = None
        self.maybe_sent = self.maybe_sent or self.sent == "connector"
        self.must_look = True
        self.sent = "connector" if self.sent == "connector" else None
        self.deaths += 1
        self.state = "failed" if is_last_death else "queued"
        self.tried = self.tried or is_last_death


@contextmanager
def chance_made_repeatable(engine: Engine) -> Iterator[None]:
    """Claims ask the jobs in an order of chance; a failure must come again to be shrunk."""

    # At each checkout: which thread gets which connection of the pool is chance too.
    def seed(connection: Any, *_: object) -> None:
        if engine.dialect.name == "sqlite":
            connection.create_function("random", 0, random.Random(0).random)
        else:
            connection.execute("SELECT setseed(0)")
            connection.commit()

    event.listen(engine, "checkout", seed)
    yield
    event.remove(engine, "checkout", seed)
    engine.dispose()


class Store(RuleBasedStateMachine):
    engine: Engine  # one for all examples: a new database for each would cost most of the time

    def __init__(self) -> None:
        super().__init__()
        self.engine.dispose()  # a new connection begins the same row of chances
        with self.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))
        self.loads = Loads(self.engine)
        self.items: dict[int, Item] = {}
        self.claims: list[ClaimedItem] = []
        self.states: dict[str, JobState] = {}

    def teardown(self) -> None:
        self.drain()

    @rule(
        wanted=st.lists(st.sampled_from(TARGETS), min_size=1, max_size=4, unique=True),
        first=st.sampled_from([None, None, 1]),
    )
    def load(self, wanted: list[str], first: int | None) -> None:
        known = DatabaseMemory(self.engine, SEALER).targets(wanted)
        live = {item.target for item in self.items.values() if item.state in ("queued", "running")}
        assert {target for target, record in known.items() if record.state == "live"} == live & set(wanted)
        rows = [
            planned(number, target=target, must_look=target in known)
            for number, target in enumerate(wanted, start=2)
            if target not in live
        ]
        if not rows:
            return
        job_id = self.loads.job(rows, first=first, no_look=True)
        self.states[job_id] = JobState.RUNNING
        for item_id, target in self._stored(items.c.id, items.c.target, job_id=job_id):
            self.items[item_id] = Item(job_id, target, target in known)

    @rule(count=st.integers(1, 4), is_idle=st.booleans())
    def claim(self, count: int, is_idle: bool) -> None:
        claimed = take(self.engine, count, is_idle=is_idle)
        assert len({item.id for item in claimed}) == len(claimed) <= count
        for got in claimed:
            item = self.items[got.id]
            job = self.states[item.job_id]
            assert item.state == "queued"
            assert job is JobState.RUNNING or (job is JobState.CANCELLED and item.must_look)
            assert got.is_called_off == (job is JobState.CANCELLED)
            assert (got.must_look, got.maybe_sent, got.attempts) == (
                item.must_look,
                item.maybe_sent,
                item.attempts,
            )
            assert (item.deaths < 2) or (is_idle and len(claimed) == 1 and got.is_alone)
            assert got.secrets is not None
            item.claim(got.claim_id)
        self.claims += sorted(claimed, key=lambda got: got.id)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def prolong(self, data: st.DataObject) -> None:
        claimed = data.draw(st.sampled_from(self.claims))
        standing = {
            JobState.RUNNING: Standing.HELD,
            JobState.PAUSED: Standing.STOPPED,
            JobState.CANCELLED: Standing.CALLED_OFF,
        }
        expected = standing[self.states[claimed.job_id]] if self._holds(claimed) else Standing.LOST
        assert hold(self.engine, claimed, claim_s=60) is expected
        if expected is not Standing.LOST:
            self.items[claimed.id].prolong()

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        chosen = data.draw(
            st.lists(
                st.sampled_from(self.claims), min_size=1, max_size=4, unique_by=lambda claimed: claimed.id
            )
        )
        pairs = [(claimed, data.draw(verdicts)) for claimed in chosen]
        held = [(claimed, verdict) for claimed, verdict in pairs if self._holds(claimed)]
        assert end(self.engine, *pairs, pause_above_percent=NEVER) == len(held)
        for claimed, verdict in held:
            self.items[claimed.id].settle(verdict)

    @precondition(lambda self: any(item.claim_id for item in self.items.values()))
    @rule(data=st.data())
    def rescue(self, data: st.DataObject) -> None:
        running = [item_id for item_id, item in self.items.items() if item.claim_id]
        lost = data.draw(st.lists(st.sampled_from(running), min_size=1, unique=True))
        ran_out = update(items).where(items.c.id.in_(lost)).values(claim_until=ago(minutes=1))
        writing(self.engine, lambda connection: connection.execute(ran_out))
        assert rescue(self.engine, due_in_s=0) == len(lost)
        for item_id in lost:
            self.items[item_id].rescue()

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(list(self.states)))
        was_running = self.states[job_id] is JobState.RUNNING
        assert pause_job(self.engine, job_id, PauseReason.PERSON) == was_running

    @precondition(lambda self: self.states)
    @rule(data=st.data(), first=st.sampled_from([None, 1]))
    def resume(self, data: st.DataObject, first: int | None) -> None:
        job_id = data.draw(st.sampled_from(list(self.states)))
        was_paused = self.states[job_id] is JobState.PAUSED
        assert resume_job(self.engine, job_id, first=first) == was_paused

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(list(self.states)))
        is_open = self.states[job_id] in (JobState.RUNNING, JobState.PAUSED)
        assert cancel_job(self.engine, job_id) == is_open

    @precondition(lambda self: self.states)
    @rule(data=st.data(), codes=st.sampled_from([(), ("refused",)]))
    def retry(self, data: st.DataObject, codes: tuple[str, ...]) -> None:
        job_id = data.draw(st.sampled_from(list(self.states)))
        job = get_job(self.engine, job_id)
        if job.state is JobState.CANCELLED and job.finished_at is None:
            with pytest.raises(WrongState):
                retry_job(self.engine, job_id, codes=codes)
            return
        live = {item.target for item in self.items.values() if item.state in ("queued", "running")}
        wanted = [
            self.items[row.id]
            for row in self._stored(items.c.id, items.c.state, items.c.code, job_id=job_id)
            if (row.state == "failed" and (not codes or row.code in codes))
            or (row.state == "cancelled" and not codes)
        ]
        again = [item for item in wanted if item.target not in live]
        expected = Retried(queued=len(again), wiped=0, live=len(wanted) - len(again))
        assert retry_job(self.engine, job_id, codes=codes) == expected
        for item in again:
            item.begin_anew()
        if again and self.states[job_id] not in (JobState.RUNNING, JobState.PAUSED):
            self.states[job_id] = JobState.RUNNING

    @rule()
    def sweep(self) -> None:
        while cancel_queued(self.engine):
            pass
        for item in self.items.values():
            is_called_off = self.states[item.job_id] is JobState.CANCELLED
            if item.state == "queued" and is_called_off and not item.must_look:
                item.state = "cancelled"
        finish_jobs(self.engine, pause_above_percent=NEVER)
        wipe_old_secrets(self.engine, retention_h=72)

    @invariant()
    def everything_is_as_the_rules_say(self) -> None:
        # Read at once: what the invariants ask is most of what this test costs.
        with reading(self.engine) as connection:
            stored = list(connection.execute(ALL_ITEMS))
            stored_jobs = list(connection.execute(ALL_JOBS))
            tallies = list(connection.execute(ALL_TALLIES))
        self.every_item_is_as_the_rules_say(stored)
        self.only_installed_items_have_lost_their_secret(stored)
        self.no_target_is_live_twice()
        self.jobs_move_along_the_arrows_only(stored, stored_jobs)
        assert_rows_agree(stored, stored_jobs, tallies)

    def every_item_is_as_the_rules_say(self, stored: list) -> None:
        names = [field.name for field in fields(Item)]
        assert {row.id: Item(*(getattr(row, name) for name in names)) for row in stored} == self.items

    def only_installed_items_have_lost_their_secret(self, stored: list) -> None:
        for row in stored:
            assert (row.sealed is None) == (row.state == "installed"), row.id

    def no_target_is_live_twice(self) -> None:
        live = Counter(item.target for item in self.items.values() if item.state in ("queued", "running"))
        assert all(n == 1 for n in live.values())

    def jobs_move_along_the_arrows_only(self, stored: list, stored_jobs: list) -> None:
        for job in stored_jobs:
            state, before = JobState(job.state), self.states[job.id]
            assert state is before or state in ARROWS[before]
            mine = [row for row in stored if row.job_id == job.id]
            left = [row for row in mine if row.state in ("queued", "running")]
            assert job.total - job.installed - job.failed - job.cancelled == len(left)
            if state is JobState.COMPLETED:
                assert not left
            if state in (JobState.RUNNING, JobState.PAUSED):
                assert job.held == sum(row.due_at == HELD_UNTIL for row in left)
            self.states[job.id] = state

    def drain(self) -> None:
        """Whatever came before: once nothing fails any more, every job ends."""
        for job in list_unfinished_jobs(self.engine):
            pause_job(self.engine, job.id, PauseReason.PERSON)
            resume_job(self.engine, job.id, first=None)
        for job_id in self.states:
            change_items(self.engine, job_id, claim_until=ago(minutes=1))
        rescue(self.engine, due_in_s=-1)
        while cancel_queued(self.engine):
            pass
        while claimed := take(self.engine, 100, is_idle=True):
            end(
                self.engine,
                *(
                    (item, CalledOff() if item.is_called_off else Installed(Outcome.CREATED, 1, True))
                    for item in claimed
                ),
            )
        finish_jobs(self.engine, pause_above_percent=NEVER)
        for job_id in self.states:
            job = get_job(self.engine, job_id)
            assert job.left == 0
            assert job.finished_at is not None
        assert_counters_hold(self.engine)

    def _holds(self, claimed: ClaimedItem) -> bool:
        return self.items[claimed.id].claim_id == claimed.claim_id

    def _stored(self, *columns, **where) -> list:
        query = select(*columns).order_by(items.c.id).filter_by(**where)
        with reading(self.engine) as connection:
            return list(connection.execute(query))


# A failure is shrunk, for at most 5 minutes: Hypothesis ends it then.
@pytest.mark.slow
@pytest.mark.timeout(480)
def test_the_store_keeps_its_rules_in_any_order_of_events(engine: Engine):
    class OnEngine(Store):
        pass

    OnEngine.engine = engine
    with chance_made_repeatable(engine):
        run_state_machine_as_test(
            OnEngine,
            settings=settings(
                max_examples=50,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=[
                    HealthCheck.too_slow,
                    HealthCheck.data_too_large,
                    HealthCheck.filter_too_much,
                ],
            ),
        )
