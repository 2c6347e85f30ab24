"""The clocks that decide about sending. Passed in everywhere, so that tests can hold one."""

import time
from datetime import UTC, datetime
from typing import NamedTuple

# CLOCK_BOOTTIME goes on while a laptop sleeps; monotonic clocks stand still there.
_ELAPSING_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


class Moment(NamedTuple):
    """A point in time on both clocks, in seconds. Only differences between two of them mean anything."""

    elapsing_s: float
    wall_s: float


class Clock:
    """The machine's clocks."""

    def moment(self) -> Moment:
        if _ELAPSING_CLOCK is None:
            return Moment(time.monotonic(), time.time())
        return Moment(time.clock_gettime(_ELAPSING_CLOCK), time.time())

    def since(self, earlier: Moment) -> float:
        """Seconds since `earlier`: the larger of what either clock says, so that neither can hide a pause."""
        now = self.moment()
        return max(now.elapsing_s - earlier.elapsing_s, now.wall_s - earlier.wall_s)

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        return datetime.now(UTC)
