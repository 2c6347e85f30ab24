"""What ails the servers that jobs need, as the web process finds it."""

from typing import Literal

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from worker.cyclr.errors import CyclrError, LimiterAway
from worker.domain.server_faults import ServerFault
from worker.jobs.away import why_nobody_calls
from worker.settings import InvalidSettings
from worker.store.readiness import find_database_fault
from worker.web.place import Place


class ServerFaultOut(BaseModel):
    """What ails a server: while it does, rows wait."""

    server: Literal["database", "redis", "cyclr"]
    class_: str = Field(alias="class", examples=["25006 read_only_sql_transaction", "READONLY"])
    message: str

    @classmethod
    def of(cls, fault: ServerFault) -> "ServerFaultOut":
        return cls(**fault.fields())


async def find_server_faults(place: Place) -> list[ServerFault]:
    """On the server's event loop only. At constant cost: one question to each."""
    database = await run_in_threadpool(find_database_fault, place.database.engine)
    faults = [] if database is None else [database]
    try:
        _, limiter = await place.cyclr()
        outage = (await limiter.state()).outage
    except LimiterAway as away:
        outage = why_nobody_calls(away)
    except (CyclrError, InvalidSettings):
        outage = None
    return faults if outage is None or outage in faults else [*faults, outage]
