"""When the progress line says why nothing moves."""

from tests.clocks import HeldClock
from tests.integration.store.databases import Loads, ago, change_items, end, take
from worker.cli.watching import Standstill
from worker.domain.states import Code, Outcome
from worker.domain.verdicts import Installed, RetryAt
from worker.store.jobs import get_job
from worker.store.session import Engine


def test_why_nothing_moves_is_said_after_3_s_and_not_a_moment_longer_than_it_is_so(
    engine: Engine, loads: Loads
):
    job_id = loads.job(2)
    clock = HeldClock()
    standstill = Standstill(engine, clock, lambda: None)
    first, second = take(engine)
    end(engine, (first, RetryAt(3_600, Code.UNREACHABLE, "refused")))

    def read() -> str:
        return standstill.read(get_job(engine, job_id))

    assert read() == ""
    clock.go_on(2.9)
    assert read() == ""
    clock.go_on(0.2)
    assert read().startswith("1 row in hand: ")
    end(engine, (second, Installed(Outcome.CREATED, 1, True)))
    assert read() == ""
    clock.go_on(3.1)
    assert read() in [f"next try in 59 min {second} s" for second in range(60)] + ["next try in 1 h"]


def test_workers_that_are_starting_are_waited_for_and_no_longer_than_they_may_take(
    engine: Engine, loads: Loads
):
    job_id = loads.job(1)
    change_items(engine, job_id, due_at=ago(seconds=90))
    clock = HeldClock()
    began = clock.moment()
    standstill = Standstill(engine, clock, lambda: clock.since(began))

    def read() -> str:
        return standstill.read(get_job(engine, job_id))

    read()
    clock.go_on(3.1)
    assert read() == "the workers are starting"
    clock.go_on(50)
    assert read() == "the workers are starting"
    clock.go_on(10)
    assert read() == (
        "rows are due and no worker takes them: is one running, for this Cyclr, and does its Redis answer?"
    )
