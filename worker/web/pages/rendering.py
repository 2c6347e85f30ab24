"""Templates become answers: pages, what they say once after something was done, and the page of an error.

What is said once is carried to its page by a signed cookie: the deed and its numbers, never a text. The address stays as it is,
so nothing is said again after *Back*, or to whoever is sent the address.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from worker.domain import words
from worker.domain.options import RunOptions
from worker.domain.words import counted, sentence
from worker.web.files import address_of
from worker.web.guards import FORM_TOKEN, access_of, form_token, is_over_tls
from worker.web.http_errors import HttpError

INDENTATION = re.compile(r"\n\s+")  # a fifth of what is sent; no template has a text that keeps its spaces
TEMPLATES = Path(__file__).parents[1] / "templates"
NOTICE_COOKIE = "cyclr_bulk_notice"
NOTICE_LASTS_S = 60  # for a page that takes its time to load; what is not shown by then is not worth saying
TYPED_OPTION = re.compile(r"`?(--([a-z]+(?:-[a-z]+)*))`?")  # as commands have it
BELOW_A_JOB = re.compile(r"(/jobs/\d{6}-[a-z0-9]{6})/")
HEADINGS = {
    401: "Sign in",
    403: "Not allowed",
    404: "Not found",
    409: "Not now",
    413: "Too large",
    422: "Not as expected",
    503: "Not available just now",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """What a page says in a box. `kind`: for the style sheet."""

    kind: str
    text: str
    heading: str = ""


_ONCE = {
    "started": Notice("good", "The job has been handed in."),
    "known": Notice("", "This file was handed in before: this is its job."),
    "paused": Notice("", "Paused. Calls in flight are waited for; nothing new is sent."),
    "resumed": Notice("good", "Resumed."),
    "cancelled": Notice("", "Cancelled. What is done stays done."),
    "links-made": Notice("good", "The links are made. Download them for a mail merge, or copy one below."),
    "links-withdrawn": Notice("", "No link of this job holds any more."),
    "asked": Notice("", "Cyclr is being asked who has authorised. This page shows what it says."),
    "link-withdrawn": Notice("", "That link holds no more."),
    "link-renewed": Notice("good", "That row has a new link. The old one stays dead."),
}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals["static"] = address_of
    environment.filters |= {
        "number": "{:,}".format,
        "counted": counted,
        "moment": moment,
        "sentence": sentence,
        "tag": _tag,
        "on_page": on_page,
    }
    return environment


def _tag(parts: list[str]) -> str:
    """The same for the same texts: whoever has the one with this tag need not be sent it again."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]


def moment(at: datetime) -> str:
    """`2026-11-22 01:20 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def label(option: str) -> str:
    """What an option is called on the pages: `No look`."""
    return option.replace("_", " ").capitalize()


def on_page(text: str) -> str:
    """The text with options named as the pages do, and as commands do behind it: `“Overwrite” (--overwrite)`."""

    def named(typed: re.Match[str]) -> str:
        name = typed[2].replace("-", "_")
        return f"“{label(name)}” ({typed[1]})" if name in RunOptions.__dataclass_fields__ else typed[0]

    return TYPED_OPTION.sub(named, text)


def with_names(sentence: str, *names: str) -> Markup:
    """A sentence of ours, with what others have named in place of each `{}`: no name can turn around what stands beside it."""
    return escape(sentence).format(*(Markup("<bdi>{}</bdi>").format(name) for name in names))


def address(path: str, query: Mapping[str, str]) -> str:
    """With what of the query is not empty."""
    given = {name: value for name, value in query.items() if value}
    return f"{path}{'?' if given else ''}{urlencode(given)}"


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """The page. `section`: the entry of the navigation that it belongs to."""
    caller = getattr(request.state, "caller", None)
    token = form_token(request) if caller else ""

    def token_field() -> Markup:
        return Markup('<input type="hidden" name="{}" value="{}">').format(FORM_TOKEN, token)

    known: dict[str, Any] = {
        "section": "",
        "known": frozenset(),
        "caller": caller,
        "api_host": request.app.state.place.settings.api_host if caller else "",
        "token": token_field,
    }
    html = INDENTATION.sub("\n", _environment().get_template(template).render(known | values))
    return HTMLResponse(html, status_code=status, headers=dict(headers or {}))


def go_and_tell(request: Request, path: str, done: str, **numbers: int) -> Response:
    """The way to this page, which says once what was done. A script that only asks for a part of a page is told to load it."""
    is_script = "hx-request" in request.headers
    answer = Response(headers={"HX-Redirect": path}) if is_script else RedirectResponse(path, status_code=303)
    told = {"at": path, "done": done} | {name: str(count) for name, count in numbers.items() if count}
    answer.set_cookie(
        NOTICE_COOKIE,
        access_of(request).sign_notice(urlencode(told)),
        max_age=NOTICE_LASTS_S,
        httponly=True,
        samesite="strict",
        secure=is_over_tls(request),
    )
    return answer


def render_and_tell(request: Request, template: str, **values: Any) -> HTMLResponse:
    """The page with what it is to say, which its next load does not say again."""
    told = dict(parse_qsl(access_of(request).find_notice(request.cookies.get(NOTICE_COOKIE, "")) or ""))
    # Another page of this browser may have been the first to load.
    notice = notice_of(told) if told.get("at") == request.scope["path"] else None
    page = render(request, template, notice=notice, **values)
    if notice is not None:
        page.delete_cookie(NOTICE_COOKIE)
    return page


def notice_of(told: Mapping[str, str]) -> Notice | None:
    """In words. None where nothing of it is known."""
    done = told.get("done", "")
    return _retried(told) if done == "retried" else _ONCE.get(done)


def _retried(told: Mapping[str, str]) -> Notice:
    queued, wiped, live = (_number(told, name) for name in ("queued", "wiped", "live"))
    return Notice(
        "good" if queued and not wiped and not live else "warn", " ".join(words.retried(queued, wiped, live))
    )


def _number(told: Mapping[str, str], name: str) -> int:
    text = told.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def error_page(request: Request, error: HttpError) -> Response:
    """A page that says it in words, and leads back to where it came from; where the answer is to look elsewhere, the
    way there.
    """
    status, headers = error.status_code, dict(error.headers or {})
    if 300 <= status < 400:
        return RedirectResponse(headers["Location"], status_code=status)
    heading = HEADINGS.get(status, "That did not work")
    back, label = _way_back(request.scope["path"], error.code)
    return render(
        request,
        "pages/error.html",
        status=status,
        headers=headers,
        heading=heading,
        detail=error.detail,
        back=back,
        back_label=label,
    )


def _way_back(path: str, code: str) -> tuple[str, str]:
    job = BELOW_A_JOB.match(path)
    if job and code != "unknown_job":
        return job[1], "Back to the job"
    if path.startswith(("/uploads/", "/jobs/new/")):
        return "/jobs/new", "To a new job"
    return "/jobs", "To the jobs"
