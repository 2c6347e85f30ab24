"""Sums over all jobs of an instance, for whoever watches the whole; their cost grows with the jobs, not with the rows."""

from dataclasses import dataclass

from sqlalchemy import Engine, and_, func, not_, select

from worker.store.session import reading
from worker.store.tables import IS_FORGOTTEN, instances, jobs


@dataclass(frozen=True, slots=True)
class Totals:
    """`jobs`: state -> how many. `unfinished`: items that are queued or in hand. `rescues`: ever."""

    jobs: dict[str, int]
    installed: int
    failed: int
    cancelled: int
    unfinished: int
    rescues: int


def read_totals(engine: Engine, instance_id: str) -> Totals:
    counters = [func.coalesce(func.sum(column), 0) for column in (jobs.c.total, jobs.c.installed)]
    counters += [func.coalesce(func.sum(column), 0) for column in (jobs.c.failed, jobs.c.cancelled)]
    mine = and_(jobs.c.instance_id == instance_id, not_(IS_FORGOTTEN))
    by_state = select(jobs.c.state, func.count()).where(mine).group_by(jobs.c.state)
    rescues = select(instances.c.rescues).where(instances.c.id == instance_id)
    with reading(engine) as connection:
        states = {row[0]: row[1] for row in connection.execute(by_state)}
        total, installed, failed, cancelled = connection.execute(select(*counters).where(mine)).one()
        rescued = connection.execute(rescues).scalar() or 0
    unfinished = total - installed - failed - cancelled
    return Totals(states, int(installed), int(failed), int(cancelled), int(unfinished), int(rescued))
