"""The page that a customer comes to with a link, and where their click leads."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from worker.bootstrap.place import Place
from worker.jobs.authorising import DONE_PATH, SentOn
from worker.store.faults import note_database_failure
from worker.store.readiness import is_database_away
from worker.web.desk.offering import find_links
from worker.web.desk.words import AWAY, DONE, FRONT, CustomerPage, error_in_words, page_of
from worker.web.guards import GivenPlace, find_page_caller
from worker.web.http_errors import HttpError
from worker.web.pages.rendering import render

CUSTOMERS = "/authorise"  # where their links lead, and `/authorised` with it
RETRY_AFTER_S = {429: "600", 503: "60"}

router = APIRouter(include_in_schema=False)


@router.api_route("/authorise/{token}", methods=["GET", "HEAD"])
async def authorise_page(request: Request, token: str, place: GivenPlace) -> Response:
    """Spends nothing, so that mail scanners may open it as often as they like."""

    async def look() -> CustomerPage:
        links = find_links(place)
        if links is None:
            return AWAY
        is_opened = request.method == "GET"
        seen = await asyncio.to_thread(links.open if is_opened else links.look_at, token)
        return page_of(seen.state, seen.connector_name)

    return await _answer(request, place, look)


@router.post("/authorise/{token}")
async def authorise(request: Request, token: str, place: GivenPlace) -> Response:
    """The customer's click: a sign-in token is minted now, and their browser goes to Cyclr with it."""

    async def send_on() -> CustomerPage | SentOn:
        links = find_links(place)
        if links is None:
            return AWAY
        sent = await links.send_on(token, place.cyclr)
        if isinstance(sent, SentOn):
            return sent
        seen = await asyncio.to_thread(links.look_at, token)
        return page_of(sent, seen.connector_name)

    return await _answer(request, place, send_on)


@router.get("/")
async def front(request: Request, place: GivenPlace) -> Response:
    """Of staff and of customers whose link was cut: who is not known is taken for a customer, where customers come at all."""
    may_be_customer = not place.settings.missing_for_desk()
    if may_be_customer and await find_page_caller(request) is None:
        return _shown(request, place, FRONT)
    return RedirectResponse("/jobs", status_code=303)


@router.get(DONE_PATH)
async def authorised_page(request: Request, place: GivenPlace) -> Response:
    """Where Cyclr sends the customer back to. It says nothing of who came, since no link may stand in Cyclr's address."""
    return _shown(request, place, DONE)


def is_customers_path(path: str) -> bool:
    """Whether whoever comes to this address may be a customer: with a link, or with what a mail program left of one."""
    lowered = path.casefold()
    return lowered.startswith(CUSTOMERS) or (lowered != "/" and CUSTOMERS.startswith(lowered))


def customers_error_page(request: Request, error: HttpError) -> Response:
    """An error in a customer's words."""
    place: Place = request.app.state.place
    page = replace(error_in_words(error.status_code), status=error.status_code)
    return _shown(request, place, page, error.headers)


async def _answer(
    request: Request, place: Place, look: Callable[[], Awaitable[CustomerPage | SentOn]]
) -> Response:
    try:
        found = await look()
    except Exception as error:
        if not is_database_away(error):
            raise
        note_database_failure(error, "answering a request")
        found = AWAY
    if isinstance(found, SentOn):
        return RedirectResponse(found.url, status_code=303, headers=_headers(place))
    return _shown(request, place, found)


def _shown(
    request: Request, place: Place, page: CustomerPage, more_headers: Mapping[str, str] | None = None
) -> Response:
    headers = _headers(place) | dict(more_headers or {})
    if page.status in RETRY_AFTER_S:
        headers.setdefault("Retry-After", RETRY_AFTER_S[page.status])
    return render(request, "desk/customer.html", status=page.status, headers=headers, page=page)


def _headers(place: Place) -> dict[str, str]:
    # Browsers hold the redirect that follows a form to its policy too, so Cyclr's page is named.
    to = " ".join(filter(None, ("'self'", place.settings.cyclr_service_url)))
    policy = f"default-src 'none'; style-src 'self'; img-src 'self'; form-action {to}; base-uri 'none'; frame-ancestors 'none'"
    return {"Content-Security-Policy": policy, "X-Robots-Tag": "noindex, nofollow"}
