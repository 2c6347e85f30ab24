"""What a page says once after something was done: a signed cookie carries the deed and its numbers to it, never a text.

The address stays as it is, so nothing is said again after *Back*, or to whoever is sent the address.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from worker.domain import words
from worker.web.guards import access_of, is_over_tls

COOKIE = "cyclr_bulk_notice"
LASTS_S = 60  # for a page that takes its time to load; what is not shown by then is not worth saying


@dataclass(frozen=True, slots=True)
class Notice:
    kind: str
    text: str


_PLAIN = {
    "started": Notice("good", "The job has been handed in."),
    "known": Notice("", "This file was handed in before: this is its job."),
    "paused": Notice("", "Paused. Calls in flight are waited for; nothing new is sent."),
    "resumed": Notice("good", "Resumed."),
    "cancelled": Notice("", "Cancelled. What is installed stays installed."),
    "links-made": Notice("good", "The links are made. Download them for a mail merge, or copy one below."),
    "links-withdrawn": Notice("", "No link of this job holds any more."),
    "asked": Notice("", "Cyclr is being asked who has authorised. This page shows what it says."),
    "link-withdrawn": Notice("", "That link holds no more."),
    "link-renewed": Notice("good", "That row has a new link. The old one stays dead."),
}


def go_and_tell(request: Request, path: str, done: str, **numbers: int) -> Response:
    """The way to this page, which says once what was done."""
    return tell_there(request, RedirectResponse(path, status_code=303), path, done, **numbers)


def tell_there(request: Request, answer: Response, path: str, done: str, **numbers: int) -> Response:
    """`answer`, which leads to the page at `path`: that one says once what was done."""
    told = {"at": path, "done": done} | {name: str(count) for name, count in numbers.items() if count}
    answer.set_cookie(
        COOKIE,
        access_of(request).sign_notice(urlencode(told)),
        max_age=LASTS_S,
        httponly=True,
        samesite="strict",
        secure=is_over_tls(request),
    )
    return answer


def find_notice(request: Request) -> Notice | None:
    """What this page is to say; to be shown with `shown_once`."""
    text = access_of(request).find_notice(request.cookies.get(COOKIE, ""))
    told = dict(parse_qsl(text or ""))
    # Another page of this browser may have been the first to load.
    return notice_of(told) if told.get("at") == request.scope["path"] else None


def shown_once(answer: Response, notice: Notice | None) -> Response:
    """The page with this notice in it: its next load has none."""
    if notice is not None:
        answer.delete_cookie(COOKIE)
    return answer


def notice_of(told: Mapping[str, str]) -> Notice | None:
    """In words. None where nothing of it is known."""
    done = told.get("done", "")
    return _retried(told) if done == "retried" else _PLAIN.get(done)


def _retried(told: Mapping[str, str]) -> Notice:
    queued, wiped, live = (_number(told, name) for name in ("queued", "wiped", "live"))
    return Notice(
        "good" if queued and not wiped and not live else "warn", " ".join(words.retried(queued, wiped, live))
    )


def _number(told: Mapping[str, str], name: str) -> int:
    text = told.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
