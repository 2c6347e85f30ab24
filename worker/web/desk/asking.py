"""Beside the requests, Cyclr is asked who has authorised."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from worker.bootstrap.place import Place
from worker.jobs.asking import STEP_S, Asking
from worker.store.faults import note_database_failure, note_database_success

ASKING = "asking who has authorised"


@asynccontextmanager
async def asking(place: Place) -> AsyncIterator[None]:
    """For as long as the context lasts, step by step."""
    task = asyncio.create_task(_go_on(place))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _go_on(place: Place) -> None:
    steps = Asking(place.database.engine, place.database.instance_id)
    while True:
        try:
            await steps.step(place.cyclr)
        except Exception as error:  # noqa: BLE001 - the database may be away; the next step tries again
            note_database_failure(error, ASKING)
        else:
            note_database_success(ASKING)
            note_database_success("answering a request")  # nobody may ask again
        await asyncio.sleep(STEP_S)
