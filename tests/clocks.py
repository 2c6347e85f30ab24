"""A clock that tests hold in their hands."""

from datetime import UTC, datetime, timedelta

from worker.clock import Clock, Moment


class HeldClock(Clock):
    """Stands still until it is told to go on. `sleep` goes on by what was asked for, and by `oversleep_s`."""

    def __init__(self) -> None:
        self.elapsing_s = 1_000.0
        self.wall_s = 1_700_000_000.0
        self.oversleep_s = 0.0

    def go_on(self, seconds: float) -> None:
        self.elapsing_s += seconds
        self.wall_s += seconds

    async def sleep(self, seconds: float) -> None:
        self.go_on(seconds + self.oversleep_s)

    def moment(self) -> Moment:
        return Moment(self.elapsing_s, self.wall_s)

    def since(self, earlier: Moment) -> float:
        return max(self.elapsing_s - earlier.elapsing_s, self.wall_s - earlier.wall_s)

    def now(self) -> datetime:
        return datetime(2023, 11, 14, tzinfo=UTC) + timedelta(seconds=self.elapsing_s)
