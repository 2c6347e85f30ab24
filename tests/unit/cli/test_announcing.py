from tests.clocks import HeldClock
from worker.cli.home import Announcing
from worker.cyclr.errors import LimiterAway
from worker.cyclr.limiter import InProcessLimiter
from worker.cyclr.limiter_rule import Limit, Reply, Rule

OURS, THEIRS = Limit(2, 10), Limit(50, 10)


class Places:
    """Where our limiter is opened: at one rule, then at another; `is_away`: nobody answers there."""

    def __init__(self) -> None:
        self.rule = Rule()
        self.is_away = False
        self.opened = 0

    def open(self) -> InProcessLimiter:
        self.opened += 1
        clock, places = HeldClock(), self

        class Far(InProcessLimiter):
            async def ask_rule(self, question: str, *given: float) -> Reply:
                if places.is_away:
                    raise LimiterAway
                return await super().ask_rule(question, *given)

        return Far(self.rule, limit=OURS, gates=None, clock=clock, sleep=clock.sleep)

    def in_force(self) -> float:
        """For a process that asks half a minute less a second later."""
        return self.rule.ask(1_029_000_000, "read", THEIRS).configured_per_second


def test_the_limit_is_known_from_the_beginning() -> None:
    places = Places()
    announcing = Announcing(places.open)
    announcing.begin()
    assert places.in_force() == 2
    announcing.end()
    announcing.end()
    assert places.opened == 1


def test_the_limit_is_known_at_another_broker_too() -> None:
    places = Places()
    announcing = Announcing(places.open)
    announcing.begin()
    places.rule = Rule()
    announcing.begin()
    assert places.in_force() == 2
    assert places.opened == 2
    announcing.end()


def test_a_limiter_that_is_away_keeps_nobody() -> None:
    places = Places()
    places.is_away = True
    announcing = Announcing(places.open)
    announcing.begin()
    assert places.in_force() == 50
    announcing.end()


def test_one_that_never_began_ends() -> None:
    Announcing(Places().open).end()
