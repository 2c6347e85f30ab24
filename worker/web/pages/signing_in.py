"""Sign in with an API key, sign out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from worker.store.api_keys import SESSION_LASTS
from worker.web.guards import (
    SIGN_IN,
    access_of,
    caller_of_key,
    cookie_name,
    find_page_caller,
    is_over_tls,
    require_own_form,
    session_cookie,
)
from worker.web.http_errors import HttpError
from worker.web.pages.rendering import render

router = APIRouter()


@router.get(SIGN_IN)
async def sign_in_page(request: Request, then: str = "") -> Response:
    if await find_page_caller(request) is not None:
        return RedirectResponse(_own_path(then), status_code=303)
    cookie = session_cookie(request)
    why = await run_in_threadpool(access_of(request).why_over, cookie) if cookie else None
    # A link in a mail or a chat comes without the cookie: the page asks once more, by itself and with it.
    is_from_elsewhere = request.headers.get("sec-fetch-site") == "cross-site"
    return render(
        request,
        "pages/sign_in.html",
        then=_own_path(then),
        why=why,
        fault=None,
        asks_again=is_from_elsewhere,
    )


@router.post(SIGN_IN)
async def sign_in(
    request: Request, key: Annotated[str, Form()] = "", then: Annotated[str, Form()] = ""
) -> Response:
    """Begins a session: 303 to where the person wanted to go, or the form again with what is wrong."""
    try:
        caller = await caller_of_key(request, key.strip())
    except HttpError as error:
        return render(
            request,
            "pages/sign_in.html",
            status=error.status_code,
            then=_own_path(then),
            why=None,
            fault=error.detail,
            asks_again=False,
        )
    access, before = access_of(request), session_cookie(request)
    session = await run_in_threadpool(access.begin_session, caller, instead_of=before)
    answer = RedirectResponse(_own_path(then), status_code=303)
    answer.set_cookie(
        cookie_name(request),
        session,
        max_age=int(SESSION_LASTS.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=is_over_tls(request),
    )
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Ends the session, here and in every other web process; also one that had ended already."""
    if await find_page_caller(request) is not None:
        await require_own_form(request)
    await run_in_threadpool(access_of(request).end_session, session_cookie(request))
    answer = RedirectResponse(SIGN_IN, status_code=303)
    # As it was set: browsers take nothing else for a name that begins with `__Host-`.
    answer.delete_cookie(cookie_name(request), secure=is_over_tls(request), httponly=True, samesite="strict")
    return answer


def _own_path(then: str) -> str:
    """A path of this server, whatever was asked for: never a way to another host."""
    is_path = then.startswith("/") and not then.startswith(("//", "/\\")) and then.isprintable()
    return then if is_path and not then.startswith(SIGN_IN) else "/jobs"
