"""How long a job has worked: while it is running. What lies between a pause and a resume, an end and a retry, is no work."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, bindparam, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from worker.store.tables import UtcDateTime, jobs


class seconds_between(FunctionElement[float]):  # noqa: N801 - a function of the database
    """From the first time to the second one."""

    type = Float()
    inherit_cache = True


@compiles(seconds_between, "sqlite")
def _of_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    first, last = (compiler.process(each, **options) for each in element.clauses)
    return f"((julianday({last}) - julianday({first})) * 86400.0)"


@compiles(seconds_between, "postgresql")
def _of_postgres(element: Any, compiler: Any, **options: Any) -> str:
    first, last = (compiler.process(each, **options) for each in element.clauses)
    return f"EXTRACT(EPOCH FROM ({last} - {first}))"


def working(now: datetime) -> dict[str, Any]:
    """What changes on a job that begins to work, or goes on."""
    return {"working_since": now}


def resting(now: datetime) -> dict[str, Any]:
    """What changes on a job that works no longer; nothing where it rested already."""
    stretch = seconds_between(jobs.c.working_since, bindparam(None, now, type_=UtcDateTime()))
    return {"worked_s": jobs.c.worked_s + func.coalesce(stretch, 0.0), "working_since": None}
