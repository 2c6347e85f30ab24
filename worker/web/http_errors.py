"""Errors, as RFC 9457 problem+json where a program asks (`/v1`), as a page where a person does."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.cyclr.errors import CyclrError, LimiterAway
from worker.domain.pace import nobody_calls
from worker.domain.words import sentence
from worker.intake import FileChanged
from worker.jobs.views import Fault, why_nobody_calls
from worker.store.faults import DatabaseAway, TakesNoWrites, database_fault, is_database_away, takes_no_writes
from worker.store.loading import LoadLost, UnstorableText
from worker.telemetry import ALARMS, get_logger, where_it_was
from worker.web.faults import to_fault
from worker.web.waiting import UploadGone

MEDIA_TYPE = "application/problem+json"
FOR_PROGRAMS = ("/v1", "/healthz", "/readyz", "/version", "/metrics")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# The names of RFC 9110: Python's own differ from version to version.
TITLES = {
    303: "See Other",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}

# Of a request that is not carried out: the page that says so.
ErrorPage = Callable[[Request, "HttpError"], Response]
_PHRASES = frozenset(status.phrase for status in HTTPStatus)  # what an error without words of its own says

log = get_logger()


class ProblemDetails(BaseModel):
    """Why a request was not carried out: RFC 9457."""

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str = Field("about:blank", examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["2 rows have problems. Nothing was created."])
    code: str = Field(description="Stable, for programs.", examples=["problems_in_file"])
    errors: list[Fault] | None = Field(None, description="The first 1,000.")
    error_count: int | None = Field(None, description="Of all, where there are more than `errors` holds.")


class HttpError(HTTPException):
    """A request that is not carried out. `code`: stable, for programs; `detail`: for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        error_count: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.errors = tuple(errors)
        self.error_count = len(self.errors) if error_count is None else error_count


def invalid_request(*faults: Fault, count: int | None = None) -> HttpError:
    """`count`: of all faults, where not all of them are told."""
    detail = "The request is not as expected."
    return HttpError(422, "invalid_request", detail, errors=faults, error_count=count)


def answer_errors(app: FastAPI, error_page: ErrorPage) -> None:
    """Every error of a route gets its answer here; one that nobody foresaw is a 500 that says nothing of it."""
    app.state.error_page = error_page
    for kind in (HTTPException, RequestValidationError, CyclrError, DatabaseAway):
        app.add_exception_handler(kind, answer_error)
    app.add_middleware(UnforeseenErrors)


class UnforeseenErrors:
    """ASGI middleware: what no handler knows is answered and logged by its name alone, since its text may hold anything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            if scope["type"] != "http" or has_begun:
                raise
            answer = await answer_error(Request(scope, receive), error)
            await answer(scope, receive, send)


async def answer_error(request: Request, error: Exception) -> Response:
    """What is sent for this error: a problem to a program, a page to a person."""
    path = request.scope["path"]
    status = None  # of an error that is the framework's
    if isinstance(error, HTTPException) and not isinstance(error, HttpError):
        status = error.status_code
    if status == 404 and (shorter := _without_slash(request)):
        return Response(status_code=307, headers={"Location": shorter})
    if _is_of_path(error) and not path.startswith(FOR_PROGRAMS):
        error = HTTPException(404)  # a page's address is typed by people, or cut by a mail program
    answered = _wrong_method(request) if status == 405 else to_http_error(error)
    if (fault := database_fault(error)) is not None and answered.code == "database_away":
        ALARMS.failed(fault, "answering a request")
    if answered.status_code == 500:
        # The route's pattern: an address may hold what is nobody's business.
        route = str(getattr(request.scope.get("route"), "path", "(none)"))
        log.error(
            "request_failed", path=route, error=type(error).__name__, where=where_it_was(error.__traceback__)
        )
    if path.startswith(FOR_PROGRAMS):
        return problem_answer(answered)
    answer: Response = request.app.state.error_page(request, answered)
    return answer


def to_http_error(error: Exception) -> HttpError:
    """What is answered to this error."""
    match error:
        case HttpError():
            return error
        case RequestValidationError():
            faults = [to_fault(each) for each in error.errors()]
            return invalid_request(*faults)
        case HTTPException(status_code=status):
            return HttpError(status, _code(status), _detail(error), headers=dict(error.headers or {}))
        case UnstorableText():
            return HttpError(422, "nothing_to_install", sentence(str(error)))
        case FileChanged() | LoadLost() | UploadGone():
            told = str(error.strerror) if isinstance(error, UploadGone) else str(error)
            return HttpError(503, "try_again", sentence(told), headers={"Retry-After": "5"})
        case LimiterAway():
            return _busy("limiter_away", f"{nobody_calls(why_nobody_calls(error).in_public)}.")
        case CyclrError():
            detail = f"Cyclr cannot be asked: {error}. {error.advice}"
            return HttpError(503, "cyclr_away", detail, headers={"Retry-After": "5"})
    if isinstance(error, TakesNoWrites) or takes_no_writes(error):
        return _busy("database_away", "The database takes no writes.")
    if isinstance(error, DatabaseAway) or is_database_away(error):
        fault = database_fault(error)
        return _busy("database_away", f"{fault.in_public}." if fault else "The database does not answer.")
    return HttpError(500, "internal_error", "Something went wrong here; the server's log names it.")


def problem_answer(error: HttpError) -> JSONResponse:
    problem = ProblemDetails(
        type="about:blank",
        title=title_of(error.status_code),
        status=error.status_code,
        detail=error.detail,
        code=error.code,
        errors=list(error.errors) or None,
        error_count=error.error_count or None,
    )
    return JSONResponse(
        problem.model_dump(mode="json", exclude_none=True),
        status_code=error.status_code,
        headers=error.headers,
        media_type=MEDIA_TYPE,
    )


def title_of(status: int) -> str:
    """What the status is called."""
    return TITLES.get(status, "Error")


def _busy(code: str, detail: str) -> HttpError:
    return HttpError(503, code, f"{detail} Try again in a moment.", headers={"Retry-After": "5"})


def _code(status: int) -> str:
    return "too_large" if status == 413 else title_of(status).lower().replace(" ", "_")


def _detail(error: HTTPException) -> str:
    if error.status_code == 404:
        return "There is nothing at this address."
    is_mere_title = error.status_code >= 500 or error.detail in _PHRASES
    return title_of(error.status_code) if is_mere_title else str(error.detail)


def _is_of_path(error: Exception) -> bool:
    return isinstance(error, RequestValidationError) and any(
        each["loc"][:1] == ("path",) for each in error.errors()
    )


def _wrong_method(request: Request) -> HttpError:
    """An address may be that of several routes, each with its methods: all of them are named."""
    taken = [method for method in METHODS if _takes(request, method)] or ["GET", "HEAD"]  # those of a file
    given = request.method if request.method in METHODS else "another method"
    detail = f"This address takes {' and '.join(taken)}, not {given}."
    return HttpError(405, _code(405), detail, headers={"Allow": ", ".join(taken)})


def _takes(request: Request, method: str, **other: str) -> bool:
    scope = {**request.scope, "method": method, **other}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


def _without_slash(request: Request) -> str | None:
    """The address without the slash that somebody has put behind it, where it is one of ours: of this host, whatever the
    request calls it."""
    path = request.scope["path"]
    shorter = path.rstrip("/")
    if path == shorter or not shorter or shorter.startswith("//"):
        return None
    if not _takes(request, request.method, path=shorter):
        return None
    query = request.scope["query_string"].decode("latin-1")
    return quote(shorter) + (f"?{query}" if query else "")


_RETRY_AFTER = {
    "Retry-After": {"description": "Try again after so many seconds.", "schema": {"type": "integer"}}
}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`", "schema": {"type": "string"}}},
    409: {
        "Retry-After": {
            **_RETRY_AFTER["Retry-After"],
            "description": "Where waiting helps: after so many seconds.",
        }
    },
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def error_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with a problem of these statuses; 401, 422, 429 and 503 always are."""
    return {
        status: {
            "description": title_of(status),
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({401, 422, 429, 503, *statuses})
    }
