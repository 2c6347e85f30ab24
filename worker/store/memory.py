"""What others have of the rows of a file: earlier jobs, as targets and as kept rows, and loads that are under way.

What is unique is kept by the index of live targets, which holds the rows of loads too. So loads of different rows know nothing
of each other; one that comes upon a row of another load waits until that one runs, is gone, or was silent for so long that it
is taken for dead. Of two that come upon each other the younger gives way, so no ring of them waits for ever.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Engine,
    Select,
    String,
    and_,
    bindparam,
    cast,
    func,
    not_,
    or_,
    select,
    tuple_,
)

from worker.clock import Clock
from worker.domain.rows import StoredRow
from worker.domain.states import Code, ItemState, JobState, Outcome
from worker.domain.targets import KnownTarget
from worker.store.sealing import Sealer
from worker.store.session import db_now, reading
from worker.store.tables import (
    IS_FORGOTTEN,
    IS_LIVE,
    IS_SHOWN_OTHERWISE,
    items,
    job_connectors,
    jobs,
    remembered_targets,
    unloaded_rows,
)
from worker.store.upkeep import delete_load

KEYS_PER_QUERY = 500
OF_A_DELETED_JOB = KnownTarget("tried", "", 0)
LOADER_SILENT_S = 15.0  # a loader is heard of every second; one that was stopped is not
POLL_S = 0.25


class DatabaseMemory:
    """What intake asks of our own past. `besides`: a job whose live rows do not count."""

    def __init__(self, engine: Engine, sealer: Sealer, *, besides: str | None = None) -> None:
        self._engine = engine
        self._sealer = sealer
        self._besides = besides

    def targets(self, keys: Sequence[str]) -> Mapping[str, KnownTarget]:
        """The targets among these that some job holds or held. Where several did: live before installed before tried.

        A job that is still loading counts for nothing: it may yet come to nothing. A load that comes upon its rows waits.
        """
        found: dict[str, KnownTarget] = {}
        rank = {"live": 0, "installed": 1, "tried": 2}
        with reading(self._engine) as connection:
            for target, known in iter_known(connection, keys):
                best = found.get(target)
                if best is None or rank[known.state] <= rank[best.state]:
                    found[target] = known
        return {
            target: known
            for target, known in found.items()
            if known.state != "live" or known.job_id != self._besides
        }

    def stored_rows(self, rows: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], StoredRow | None]:
        """(job id, row number) -> that item; unknown rows are left out.

        None where the row was refused at intake; if it referred to an item itself, that item without its secrets.
        """
        wanted = list(rows)
        found: dict[tuple[str, int], StoredRow | None] = {}
        origins: dict[tuple[str, int], tuple[str, int]] = {}
        with reading(self._engine) as connection:
            for start in range(0, len(wanted), KEYS_PER_QUERY):
                keys = wanted[start : start + KEYS_PER_QUERY]
                held = _STORED.where(tuple_(items.c.job_id, items.c.row_number).in_(keys))
                for row in connection.execute(held):
                    kept = self._sealer.find(row.sealed, job_id=row.job_id, row_number=row.row_number)
                    connector = (row.connector_name, row.connector_version)
                    found[row.job_id, row.row_number] = StoredRow(
                        *(row.instance_id, row.account_id, row.name, row.key, connector, kept),
                        item_id=row.id,
                    )
                missing = [key for key in keys if key not in found]
                if missing:
                    refused = _REFUSED.where(
                        tuple_(unloaded_rows.c.job_id, unloaded_rows.c.row_number).in_(missing)
                    )
                    for line in connection.execute(refused):
                        found[line.job_id, line.row_number] = None
                        if (origin := _origin(line.columns, line.cells)) is not None:
                            origins[line.job_id, line.row_number] = origin
        if origins:
            behind = self.stored_rows(set(origins.values()))
            for at, origin in origins.items():
                if (stored := behind.get(origin)) is not None:
                    found[at] = replace(stored, secrets={}, at=stored.at or origin)
        return found

    def namesakes(self, targets: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
        """(job id, target) -> the row number of that job's item with this target; left out where there is none."""
        wanted = set(targets)
        keys = sorted({target for _, target in wanted})
        found: dict[tuple[str, str], int] = {}
        with reading(self._engine) as connection:
            for start in range(0, len(keys), KEYS_PER_QUERY):
                these = select(items.c.job_id, items.c.target, items.c.row_number).where(
                    items.c.target.in_(keys[start : start + KEYS_PER_QUERY])
                )
                for row in connection.execute(these):
                    if (row.job_id, row.target) in wanted:
                        found[row.job_id, row.target] = row.row_number
        return found


def iter_known(connection: Connection, targets: Sequence[str]) -> Iterator[tuple[str, KnownTarget]]:
    """What all jobs but those that are loading know of these targets, each job's item for itself; and what is remembered
    of jobs that are deleted."""
    is_postgres = connection.dialect.name == "postgresql"
    for start in range(0, len(targets), KEYS_PER_QUERY):
        these = list(targets[start : start + KEYS_PER_QUERY])
        found: set[str] = set()
        for row in connection.execute(_WITH_ANY if is_postgres else _WITH_TARGETS, {"targets": these}):
            if (known := _known(row)) is not None:
                found.add(row.target)
                yield row.target, OF_A_DELETED_JOB if row.is_forgotten else known
        # After the items: a row that is deleted in between was seen there.
        sought = [target for target in these if target not in found]
        remembered = _REMEMBERED_WITH_ANY if is_postgres else _REMEMBERED
        for target in connection.execute(remembered, {"targets": sought}).scalars():
            yield target, OF_A_DELETED_JOB


def list_shown_otherwise(connection: Connection, targets: Sequence[str]) -> dict[str, list[str]]:
    """The targets among these of which Cyclr has shown an item fields otherwise than that one set them: which fields."""
    found: dict[str, set[str]] = {}
    for start in range(0, len(targets), KEYS_PER_QUERY):
        these = items.c.target.in_(targets[start : start + KEYS_PER_QUERY])
        seen = select(items.c.target, items.c.shown_otherwise).where(these, IS_SHOWN_OTHERWISE)
        for target, names in connection.execute(seen):
            found.setdefault(target, set()).update(names)
    return {target: sorted(names) for target, names in found.items()}


def _known(row: Any) -> KnownTarget | None:
    state = ItemState(row.state)
    if not state.is_final:
        return KnownTarget("live", row.job_id, row.row_number, row.id)
    if state is ItemState.INSTALLED and not row.was_left_alone:
        return KnownTarget("installed", row.job_id, row.row_number, row.id)
    if state is ItemState.INSTALLED or row.tried or row.maybe_sent:
        return KnownTarget("tried", row.job_id, row.row_number, row.id)
    return None


# What versions before this one called installed where they had found other values than the row's, or another Name.
_AS_ASKED = ("[]", "null", '["description"]')
_WAS_LEFT_ALONE = and_(
    func.coalesce(items.c.outcome, "") == Outcome.ADOPTED,
    or_(
        func.coalesce(cast(items.c.differs, String), "[]").not_in(_AS_ASKED),
        func.coalesce(items.c.code, "") == Code.PRESENT_UNDER_OTHER_NAME,
    ),
)


def _with_targets(is_one_of_them: Any) -> Select[Any]:
    return (
        select(
            items.c.id,
            items.c.target,
            items.c.state,
            _WAS_LEFT_ALONE.label("was_left_alone"),
            items.c.tried,
            items.c.maybe_sent,
            items.c.job_id,
            items.c.row_number,
            IS_FORGOTTEN.label("is_forgotten"),
        )
        .join(jobs, jobs.c.id == items.c.job_id)
        .where(is_one_of_them, or_(jobs.c.state != JobState.LOADING, IS_FORGOTTEN))
        .order_by(items.c.id)
    )


_WITH_TARGETS = _with_targets(items.c.target.in_(bindparam("targets", expanding=True)))
# One parameter, where so many take longer to be written into the statement than to be looked up.
_WITH_ANY = _with_targets(items.c.target == func.any(bindparam("targets", type_=ARRAY(String))))
_REMEMBERED = select(remembered_targets.c.target).where(
    remembered_targets.c.target.in_(bindparam("targets", expanding=True))
)
_REMEMBERED_WITH_ANY = select(remembered_targets.c.target).where(
    remembered_targets.c.target == func.any(bindparam("targets", type_=ARRAY(String)))
)


def _origin(columns: Sequence[str], cells: Sequence[str]) -> tuple[str, int] | None:
    """The row that a line of a result file said it was; None where it said none."""
    told = dict(zip((column.strip().casefold() for column in columns), cells, strict=False))
    job_id, number = told.get("_job", ""), told.get("_row", "")
    if not job_id or not (number.isascii() and number.isdigit() and len(number) <= 9):
        return None
    return job_id, int(number)


_STORED = (
    select(
        *(items.c.id, items.c.job_id, items.c.row_number, items.c.account_id, items.c.name, items.c.sealed),
        *(jobs.c.instance_id, job_connectors.c.key),
        job_connectors.c.definition["name"].as_string().label("connector_name"),
        job_connectors.c.definition["version"].as_string().label("connector_version"),
    )
    .join(jobs, jobs.c.id == items.c.job_id)
    .join(job_connectors, job_connectors.c.id == items.c.connector_id)
)
_REFUSED = (
    select(unloaded_rows.c.job_id, unloaded_rows.c.row_number, unloaded_rows.c.cells, jobs.c.columns)
    .join(jobs, jobs.c.id == unloaded_rows.c.job_id)
    .where(unloaded_rows.c.problems.is_not(None))
)


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
