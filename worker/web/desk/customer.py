"""The page that a customer comes to with a link, and where their click leads."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from worker.bootstrap.place import Place
from worker.jobs.authorising import DONE_PATH, NotSent, SentOn
from worker.store.faults import is_database_away, note_database_failure
from worker.store.links import LinkState
from worker.web.desk.links import find_links
from worker.web.guards import GivenPlace, find_page_caller
from worker.web.http_errors import HttpError
from worker.web.pages.rendering import render

CUSTOMERS = "/authorise"  # where their links lead, and `/authorised` with it
RETRY_AFTER_S = {429: "600", 503: "60"}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class CustomerPage:
    """What a customer reads. They know neither us nor Cyclr: no word of ours stands here, and no account's name.

    `button`: what the customer may do; None: nothing. `way_in`: what the link for those who work here is called.
    """

    status: int
    heading: str
    sentences: tuple[str, ...]
    button: str | None = None
    small: str | None = None
    way_in: str | None = None


AWAY = CustomerPage(
    503,
    "Just a moment",
    (
        "We cannot take you to the next page right now. Please try again in a few minutes.",
        "Your link stays good.",
    ),
    "Try again",
)
DONE = CustomerPage(
    200,
    "Thank you",
    (
        "If you approved the access, you are done and can close this page.",
        "If you did not, or if something went wrong, open the link in your message again.",
    ),
)
_UNKNOWN = CustomerPage(
    404,
    "This link does not work",
    (
        "It may be incomplete: mail programs sometimes break a long link in two. Copy the whole link from your"
        " message into the address line of your browser.",
        "If that does not help, please ask whoever sent it to you for a new one.",
    ),
)
FRONT = CustomerPage(
    200,
    "A part of the address is missing",
    (
        "If a message brought you here, its link was cut: mail programs sometimes break a long link in two. Copy the"
        " whole link from your message into the address line of your browser.",
        "If that does not help, please ask whoever sent it to you for a new one.",
    ),
    way_in="Sign in, if you work here",
)
_EXPIRED = CustomerPage(
    410,
    "This link has ended",
    ("It was good for a limited time. Please ask whoever sent it to you for a new one.",),
)
_WITHDRAWN = CustomerPage(
    410,
    "This link is no longer in use",
    (
        "There may be a newer message with another link: please use that one.",
        "If there is none, please ask whoever sent you the link.",
    ),
)
_TOO_OFTEN = CustomerPage(
    429,
    "Please wait a little",
    ("This link has been used many times just now. Please try again in ten minutes.",),
)
_REFUSED = CustomerPage(
    502,
    "This cannot be finished yet",
    (
        "Something is not set up as it should be, and trying again will not help.",
        "Please tell whoever sent you the link.",
    ),
)
_FROM_ELSEWHERE = CustomerPage(
    403,
    "Please open your link again",
    (
        "Your browser did not say that you came from our own page. Open the link in your message, and go on from there.",
    ),
)


def error_in_words(status: int) -> CustomerPage:
    """What somebody sees whose request could not be carried out."""
    if status == _TOO_OFTEN.status:
        return _TOO_OFTEN
    if status == 403:
        return _FROM_ELSEWHERE
    # No button: what was asked for may not be a link.
    return replace(AWAY, button=None) if status >= 500 else _UNKNOWN


def page_of(state: LinkState | NotSent, connector_name: str) -> CustomerPage:
    """What somebody sees who comes with a link, or has clicked on it."""
    match state:
        case LinkState.OPEN:
            return CustomerPage(
                200,
                f"Connect {connector_name}",
                (
                    f"You have been asked to give access to your {connector_name} account, so that it can be"
                    " connected.",
                    f"On the next page you sign in to {connector_name} and approve the access. You can stop there"
                    " at any time.",
                ),
                f"Go on to {connector_name}",
                "If you did not expect this, close this page. Nothing happens unless you go on.",
            )
        case LinkState.AUTHORISED:
            return CustomerPage(
                200,
                "Already connected",
                (f"{connector_name} is connected. There is nothing left to do; you can close this page.",),
            )
        case LinkState.EXPIRED:
            return _EXPIRED
        case LinkState.WITHDRAWN:
            return _WITHDRAWN
        case LinkState.UNKNOWN:
            return _UNKNOWN
        case NotSent.TOO_OFTEN:
            return _TOO_OFTEN
        case NotSent.REFUSED:
            return _REFUSED
        case NotSent.AWAY:
            return AWAY


@router.api_route("/authorise/{token}", methods=["GET", "HEAD"])
async def authorise_page(request: Request, token: str, place: GivenPlace) -> Response:
    """Spends nothing, so that mail scanners may open it as often as they like."""

    async def show() -> CustomerPage:
        links = find_links(place)
        if links is None:
            return AWAY
        is_opened = request.method == "GET"
        seen = await asyncio.to_thread(links.open if is_opened else links.look_at, token)
        return page_of(seen.state, seen.connector_name)

    return await _answer(request, place, show)


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
    request: Request, place: Place, act: Callable[[], Awaitable[CustomerPage | SentOn]]
) -> Response:
    try:
        found = await act()
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
