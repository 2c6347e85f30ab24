"""What earlier jobs know about the rows of a file: the targets that they have or had, and their rows as they are kept."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ARRAY, Connection, Engine, Select, String, bindparam, func, or_, select, tuple_

from worker.domain.rows import StoredRow
from worker.domain.states import ItemState, JobState
from worker.domain.targets import KnownTarget
from worker.store.sealing import Sealer
from worker.store.session import reading
from worker.store.tables import (
    IS_FORGOTTEN,
    items,
    job_connectors,
    jobs,
    remembered_targets,
    unloaded_rows,
)

KEYS_PER_QUERY = 500
OF_A_DELETED_JOB = KnownTarget("tried", "", 0)


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
                        row.instance_id, row.account_id, row.name, row.key, connector, kept
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


def _known(row: Any) -> KnownTarget | None:
    state = ItemState(row.state)
    if not state.is_final:
        return KnownTarget("live", row.job_id, row.row_number)
    if state is ItemState.INSTALLED:
        return KnownTarget("installed", row.job_id, row.row_number)
    return KnownTarget("tried", row.job_id, row.row_number) if row.tried or row.maybe_sent else None


def _with_targets(is_one_of_them: Any) -> Select[Any]:
    return (
        select(
            items.c.target,
            items.c.state,
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
        *(items.c.job_id, items.c.row_number, items.c.account_id, items.c.name, items.c.sealed),
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
