"""The clocks that decide about sending. Passed in everywhere, so that tests can hold one."""

import time
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

# CLOCK_BOOTTIME goes on while a laptop sleeps; monotonic clocks stand still there.
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)
_elapsing_s = time.monotonic if _BOOTTIME is None else partial(time.clock_gettime, _BOOTTIME)


class Moment(NamedTuple):
    """A point in time on both clocks, in seconds. Only differences between two of them mean anything."""

    elapsing_s: float
    wall_s: float


class Clock:
    """The machine's clocks."""

    def moment(self) -> Moment:
        return Moment(_elapsing_s(), time.time())

    def since(self, earlier: Moment) -> float:
        """Seconds since `earlier`: the larger of what either clock says, so that neither can hide a pause."""
        return max(_elapsing_s() - earlier.elapsing_s, time.time() - earlier.wall_s)

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        return datetime.now(UTC)
