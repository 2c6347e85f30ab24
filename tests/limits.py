"""What the tests of the limiter share: the bound on calls, questions in any order, and a kept gate."""

from collections.abc import Sequence
from datetime import datetime

from hypothesis import strategies as st

from worker.cyclr.limiter_rule import Limit

SECOND = 1_000_000
KEPT_GATE = 4 * SECOND  # what the store of a scripted run holds, from the time of the flush on


class KeptGate:
    """A `GateStore` in memory."""

    def __init__(self, until: datetime | None = None) -> None:
        self.until = until

    def load_gate(self) -> datetime | None:
        return self.until

    def save_gate(self, until: datetime) -> None:
        self.until = until if self.until is None else max(until, self.until)


class BrokenGate:
    """A `GateStore` whose database is away."""

    def load_gate(self) -> datetime | None:
        raise RuntimeError("the database is away")

    def save_gate(self, until: datetime) -> None:
        raise RuntimeError("the database is away")


def assert_within_bound(starts: Sequence[float], *, rate: float, burst: int, slack_s: float) -> None:
    """Any window from one call to another holds at most burst + rate x (window + slack) calls. Times in seconds.

    Windows that begin and end with a call are the worst there are, so these are all.
    """
    times = sorted(starts)
    for i, first in enumerate(times):
        for j in range(i, len(times)):
            window_s = times[j] - first
            assert j - i + 1 <= burst + rate * (window_s + slack_s) + 1e-6, (
                f"{j - i + 1} calls in {window_s:.3f} s"
            )


_ago = st.integers(0, 8 * SECOND)
questions = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 60), st.integers(0, 3 * SECOND)),
    st.tuples(st.just("reserve"), st.integers(1, 300), st.sampled_from([SECOND, 2 * SECOND])),
    st.tuples(st.just("read")),
    st.tuples(st.just("announce")),
    st.tuples(st.just("close"), st.sampled_from([0, 0, 3 * SECOND, 7000 * SECOND]), st.integers(0, 1), _ago),
    st.tuples(st.just("close"), st.integers(0, 2 * SECOND), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("fail"), st.integers(0, 1), _ago),
    st.tuples(st.just("fail"), st.just(1), st.just(0)),
    st.tuples(st.just("succeed"), _ago),
    st.tuples(st.just("succeed"), st.just(0)),
    st.tuples(st.just("restore"), st.sampled_from([0, 0, KEPT_GATE])),
    st.tuples(st.just("probe"), st.integers(0, 5), st.integers(SECOND, 40 * SECOND)),
    st.tuples(st.just("flush")),
)
pauses = st.one_of(
    st.just(0),
    st.integers(0, SECOND // 10),
    st.integers(0, 4 * SECOND),
    st.integers(0, 900 * SECOND),
)
rates = st.one_of(st.sampled_from([0.1, 0.5, 3.0, 10.0, 200.0]), st.floats(0.05, 500.0))
limits = st.builds(Limit, rates, st.integers(1, 30), st.just(True), st.just(True))
scripts = st.lists(st.tuples(pauses, questions), max_size=30)
