"""The application: one for the API, the pages and the desk."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from worker.bootstrap.place import Place
from worker.jobs.asking import STEP_S, Asking
from worker.store.faults import note_database_failure, note_database_success
from worker.web import api, desk, files, pages
from worker.web.access import Access
from worker.web.api.connectors import Catalogue
from worker.web.api.documentation import document
from worker.web.api.events import Askers
from worker.web.desk.customer import customers_error_page, is_customers_path
from worker.web.handing_in import HandingIn
from worker.web.http_errors import HttpError, answer_errors
from worker.web.middleware import Admission, Compression, Hosts, SecurityHeaders
from worker.web.pages.rendering import error_page
from worker.web.serving import Forwarded

CLEAN_EVERY_S = 60.0


def create_app(place: Place) -> FastAPI:
    """The application of this place; nothing is opened before it starts."""
    app = FastAPI(
        title="cyclr-bulk",
        version=version("cyclr-bulk"),
        summary="Install Cyclr connectors into many customer accounts at once.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # FastAPI's own loads from other hosts
        redoc_url=None,
        redirect_slashes=False,  # the framework's own leads to whatever host a request names
        lifespan=_lifespan,
    )
    furnish(app, place)
    for part in (api, pages, desk):
        app.include_router(part.router)
    app.include_router(files.router)
    app.mount("/static", files.Statics(), name="static")
    document(app, server_url=place.settings.cyclr_bulk_public_url or "/")
    # Each stands before those above it.
    app.add_middleware(Admission)
    answer_errors(app, _error_page)
    app.add_middleware(Compression)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Forwarded)
    return app


def _error_page(request: Request, error: HttpError) -> Response:
    is_for_customers = is_customers_path(request.scope["path"])
    return (customers_error_page if is_for_customers else error_page)(request, error)


def furnish(app: FastAPI, place: Place) -> None:
    """Give the routes what they work with. An application that is not being served may be given another place."""
    app.state.place = place
    app.state.handing_in = HandingIn(place)
    app.state.catalogue = Catalogue(place)
    app.state.access = Access(place.database.engine, place.settings, place.clock)
    app.state.askers = Askers()
    app.state.hosts = Hosts(place.settings)
    app.state.proxies = place.settings.proxies
    app.state.streams = Counter()
    app.state.is_ending = False


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    place: Place = app.state.place
    handing_in: HandingIn = app.state.handing_in
    steps = Asking(place.database.engine, place.database.instance_id)

    async def ask_who_has_authorised() -> None:
        await steps.step(place.cyclr)
        note_database_success("answering a request")  # nobody may ask again

    async def delete_expired_uploads() -> None:
        """Beside the sweep, since files of a home are known here only."""
        await run_in_threadpool(handing_in.waiting.delete_expired)

    asking = asyncio.create_task(
        _again_and_again(ask_who_has_authorised, "asking who has authorised", STEP_S)
    )
    cleaning = asyncio.create_task(
        _again_and_again(delete_expired_uploads, "deleting old uploads", CLEAN_EVERY_S)
    )
    try:
        yield
    finally:
        cleaning.cancel()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking  # it may be calling Cyclr
        await run_in_threadpool(handing_in.stop)
        await place.aclose()


async def _again_and_again(do: Callable[[], Awaitable[None]], what: str, every_s: float) -> None:
    """Beside the requests. `what`: the deed, as alarms name it."""
    while True:
        try:
            await do()
        except Exception as error:  # noqa: BLE001 - the database may be away; the next time it is tried again
            note_database_failure(error, what)
        else:
            note_database_success(what)
        await asyncio.sleep(every_s)
