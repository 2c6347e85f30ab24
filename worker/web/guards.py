"""What a route is given, and asks of its caller. `Reader`, `Writer`: for `/v1`. `PageReader`, `PageWriter`: for pages."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from worker.bootstrap.place import Place
from worker.store.session import Engine
from worker.web.access import Access, Caller
from worker.web.http_errors import HttpError
from worker.web.middleware import SAFE_METHODS

COOKIE = "cyclr_bulk_session"
# Over TLS: browsers take it from this host by https only, so that no neighbour or plain page can plant another one.
HOST_COOKIE = f"__Host-{COOKIE}"
FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
FORM_TOKEN_HEADER = "X-Form-Token"  # noqa: S105 - the name of a header
SIGN_IN = "/sign-in"
WHO = {"WWW-Authenticate": "Bearer"}

# Only to say in the OpenAPI document how to call; the header is read below.
bearer = HTTPBearer(
    scheme_name="apiKey", description="An API key: `cyclr-bulk api-keys create`.", auto_error=False
)


Shown = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


def place_of(request: Request) -> Place:
    place: Place = request.app.state.place
    return place


def access_of(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


async def caller_of_key(request: Request, key_text: str, engine: Engine | None = None) -> Caller:
    """The caller with this API key. A wrong one is answered late. `engine`: where to look. Raises: HttpError (401, 429)."""
    address = request.client.host if request.client else ""
    caller = await access_of(request).caller_of_key(key_text, address, engine)
    if caller is None:
        raise HttpError(401, "wrong_key", "This API key is wrong, has expired or was revoked.", headers=WHO)
    return caller


async def find_page_caller(request: Request) -> Caller | None:
    """Who is signed in; None: nobody."""
    cookie = session_cookie(request)
    return await run_in_threadpool(access_of(request).find_session_caller, cookie) if cookie else None


async def reader(request: Request, _shown: Shown = None) -> Caller:
    """An API key of any scope, or a session: reading changes nothing, so a page may read here too."""
    key_text = _bearer(request)
    if key_text is None and (caller := await find_page_caller(request)) is not None:
        return caller
    return await _caller(request, key_text)


async def reader_from(request: Request, engine: Engine) -> Caller:
    """An API key of any scope, looked for in this database."""
    return await _caller(request, _bearer(request), engine)


async def writer(request: Request, _shown: Shown = None) -> Caller:
    """An API key of scope `write`. A session is not enough: no other site can send a header."""
    caller = await _caller(request, _bearer(request))
    _require_write(caller)
    return caller


async def page_reader(request: Request) -> Caller:
    """Whoever is signed in; others are sent to sign in. What changes anything comes from a form of their session.

    A form carries `form_token(request)` in the field FORM_TOKEN, a script's request in the header FORM_TOKEN_HEADER.
    """
    caller = await _page_caller(request)
    if request.method not in SAFE_METHODS:
        await require_own_form(request)
    return caller


async def page_writer(request: Request) -> Caller:
    """As `page_reader`, with an API key of scope `write`."""
    caller = await page_reader(request)
    _require_write(caller)
    return caller


async def page_uploader(request: Request) -> Caller:
    """As `page_writer`, for the one route that reads its form as a stream: the token in it is the route's to check, with
    `require_form_token`, before it keeps anything."""
    caller = await _page_caller(request)
    _require_write(caller)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        # No page sends a file otherwise, and what may be a gigabyte is not read into memory for its token.
        require_form_token(request, request.headers.get(FORM_TOKEN_HEADER, ""))
    return caller


def is_over_tls(request: Request) -> bool:
    """Whether browsers come by https: as the request says, or as the public address does where the proxy says nothing."""
    public_url = request.app.state.place.settings.cyclr_bulk_public_url or ""
    return request.scope["scheme"] == "https" or public_url.startswith("https://")


def session_cookie(request: Request) -> str:
    """The text of the session that the browser says it has; empty where it says nothing."""
    return request.cookies.get(cookie_name(request), "")


def cookie_name(request: Request) -> str:
    return HOST_COOKIE if is_over_tls(request) else COOKIE


def form_token(request: Request) -> str:
    """For the forms of a page. Empty where nobody is signed in."""
    cookie = session_cookie(request)
    return access_of(request).form_token(cookie) if cookie else ""


async def require_own_form(request: Request) -> None:
    """Raises: HttpError (403) where its form is not of this session, whatever kind of body it is."""
    given = request.headers.get(FORM_TOKEN_HEADER)
    require_form_token(request, await _token_of_form(request) if given is None else given)


async def _token_of_form(request: Request) -> str:
    """Empty where there is none, or no form that can be read. Raises: HTTPException (413)."""
    try:
        return str((await request.form(max_files=0, max_fields=1_000)).get(FORM_TOKEN) or "")
    except HTTPException as error:
        if error.status_code == 413:
            raise
    except (UnicodeError, ValueError, LookupError):  # a charset that is none
        pass
    return ""


def require_form_token(request: Request, given: str) -> None:
    """Raises: HttpError (403) where this is not the token of this session's forms."""
    if not access_of(request).is_form_token(given, session_cookie(request)):
        raise HttpError(403, "old_form", "This form is not of your present session. Load the page again.")


def _bearer(request: Request) -> str | None:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.casefold() == "bearer" else None


async def _caller(request: Request, key_text: str | None, engine: Engine | None = None) -> Caller:
    if not key_text:
        detail = "Expected an API key in the header `Authorization: Bearer ...`, got none."
        raise HttpError(401, "no_key", detail, headers=WHO)
    return await caller_of_key(request, key_text, engine)


async def _page_caller(request: Request) -> Caller:
    caller = await find_page_caller(request)
    if caller is None:
        # Where they come from is kept for afterwards.
        query = request.scope["query_string"].decode("latin-1")
        here = f"{request.scope['path']}{'?' if query else ''}{query}"
        is_read = request.method in ("GET", "HEAD") and here not in ("", "/")
        to = f"{SIGN_IN}?then={quote(here)}" if is_read else SIGN_IN
        raise HttpError(303, "sign_in", "Sign in first.", headers={"Location": to})
    request.state.caller = caller
    return caller


def _require_write(caller: Caller) -> None:
    if not caller.can_write:
        raise HttpError(403, "read_only_key", f"The API key '{caller.name}' may read only (scope read).")


GivenPlace = Annotated[Place, Depends(place_of)]
Reader = Annotated[Caller, Depends(reader)]
Writer = Annotated[Caller, Depends(writer)]
PageReader = Annotated[Caller, Depends(page_reader)]
PageWriter = Annotated[Caller, Depends(page_writer)]
PageUploader = Annotated[Caller, Depends(page_uploader)]
