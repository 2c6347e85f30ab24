"""Loads that meet: what two of them want at once is in one of them at most, and the other one waits for its end.

What is unique is kept by the index of live targets, which holds the rows of loads too. So loads of different rows know nothing
of each other; one that comes upon a row of another load waits until that one runs, is gone, or was silent for so long that it
is taken for dead. Of two that come upon each other the younger gives way, so no ring of them waits for ever.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ARRAY, Connection, Engine, Select, String, bindparam, func, not_, select

from worker.clock import Clock
from worker.domain.states import JobState
from worker.store.session import db_now, reading
from worker.store.tables import IS_FORGOTTEN, IS_LIVE, items, jobs
from worker.store.upkeep import delete_load

LOADER_SILENT_S = 15.0  # a loader is heard of every second; one that was stopped is not
POLL_S = 0.25
KEYS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class OtherLoad:
    """A load that is under way. `loader`: its process and machine, where known. `seen_at`: when it was heard of last, `silent_s`
    ago; None: it is being deleted. `is_writing`: what is waited for is the end of its write, not that of its load."""

    job_id: str
    source_name: str
    loader: str | None
    began_at: datetime
    seen_at: datetime | None
    silent_s: float
    is_writing: bool = False

    @property
    def is_dead(self) -> bool:
        return self.seen_at is None or self.silent_s >= LOADER_SILENT_S

    def __str__(self) -> str:
        return f"job {self.job_id} ({self.source_name}), which is being loaded since {self.began_at:%H:%M:%S} UTC"


# Told every quarter of a second: for which load, and for how many seconds so far.
OnWait = Callable[[OtherLoad, float], None]


def wait_in_silence(_load: OtherLoad, _waited_s: float) -> None:
    """For whoever tells nobody."""


class MustGiveWay(Exception):
    """A load has come upon rows of an older one."""

    def __init__(self, load: OtherLoad) -> None:
        super().__init__(f"{load} has rows of this file")
        self.load = load


class Waiting:
    """The waits of one load, one after the other; the seconds of all count."""

    def __init__(self, engine: Engine, on_wait: OnWait = wait_in_silence) -> None:
        self._engine = engine
        self._on_wait = on_wait
        self._clock = Clock()
        self._waited_s = 0.0

    def see_through(self, load: Callable[[], None]) -> None:
        """Load, and begin anew as often as it has to give way. `load`: leaves nothing behind where it raises."""
        while True:
            try:
                return load()
            except MustGiveWay as met:
                self.wait_for(met.load)

    def wait_for(self, load: OtherLoad, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Until it runs or is gone, if need be by our own hand. `meanwhile`: done at every look.

        Raises: whatever `on_wait` or `meanwhile` raises.
        """
        while True:
            began = self._clock.moment()
            meanwhile()
            now = find_load(self._engine, load.job_id)
            if now is None or now.began_at != load.began_at:
                return
            if now.is_dead:
                # Guarded: one that is heard of in this moment goes on.
                delete_load(self._engine, now.job_id, now.seen_at)
                continue
            self._on_wait(now, self._waited_s)
            time.sleep(POLL_S)
            self._waited_s += self._clock.since(began)

    def note_write(self, besides: str, waited_s: float) -> bool:
        """So long was waited for the end of somebody's write: most likely that of a load which was stopped in the middle of one.
        Whether there is such a load."""
        self._waited_s += waited_s
        silent = _find_most_silent_load(self._engine, besides=besides)
        if silent is None:
            return False
        self._on_wait(replace(silent, is_writing=True), self._waited_s)
        return True


def find_load(engine: Engine, job_id: str) -> OtherLoad | None:
    """None where this job is not being loaded."""
    with reading(engine) as connection:
        found = _loads(connection, _LOADS.where(jobs.c.id == job_id))
    return found[0] if found else None


def _find_most_silent_load(engine: Engine, *, besides: str) -> OtherLoad | None:
    """Of the other loads the one that was not heard of for longest."""
    others = _LOADS.where(jobs.c.id != besides).order_by(jobs.c.loader_seen_at).limit(1)
    with reading(engine) as connection:
        found = _loads(connection, others)
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Met:
    """Who has these targets now. `jobs`: target -> the job that is to do it; `loads`: those that are still under way."""

    jobs: dict[str, str]
    loads: list[OtherLoad]


def find_met(engine: Engine, targets: Sequence[str], *, besides: str) -> Met:
    """Where the targets are live, but in the job `besides`."""
    found: dict[str, str] = {}
    loading: set[str] = set()
    with reading(engine) as connection:
        is_postgres = connection.dialect.name == "postgresql"
        for start in range(0, len(targets), KEYS_PER_QUERY):
            these = {"targets": list(targets[start : start + KEYS_PER_QUERY]), "besides": besides}
            for row in connection.execute(_LIVE_ANY if is_postgres else _LIVE_IN, these):
                if row.state == JobState.LOADING:
                    loading.add(row.job_id)
                else:
                    found[row.target] = row.job_id
        loads = _loads(connection, _LOADS.where(jobs.c.id.in_(sorted(loading)))) if loading else []
    return Met(found, loads)


def _live(is_one_of_them: object) -> Select[tuple[str, str, str]]:
    return (
        select(items.c.target, items.c.job_id, jobs.c.state)
        .join(jobs, jobs.c.id == items.c.job_id)
        .where(is_one_of_them, IS_LIVE, items.c.job_id != bindparam("besides"))  # type: ignore[arg-type]
    )


_LIVE_IN = _live(items.c.target.in_(bindparam("targets", expanding=True)))
_LIVE_ANY = _live(items.c.target == func.any(bindparam("targets", type_=ARRAY(String))))
_LOADS = select(jobs.c.id, jobs.c.source_name, jobs.c.loader, jobs.c.created_at, jobs.c.loader_seen_at).where(
    jobs.c.state == JobState.LOADING, not_(IS_FORGOTTEN)
)


def _loads(
    connection: Connection, wanted: Select[tuple[str, str, str | None, datetime, datetime | None]]
) -> list[OtherLoad]:
    found = connection.execute(wanted).all()
    now = db_now(connection) if found else None
    return [
        OtherLoad(
            row.id,
            row.source_name,
            row.loader,
            row.created_at,
            row.loader_seen_at,
            0.0 if now is None or row.loader_seen_at is None else (now - row.loader_seen_at).total_seconds(),
        )
        for row in found
    ]
