"""`POST /v1/jobs`: a file, or a list of items, becomes a job."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.bootstrap.place import Place
from worker.domain.options import OPTIONS, OperationName, RunOptions, clashes
from worker.domain.words import counted
from worker.intake import Unreadable
from worker.intake.findings import Rejected
from worker.jobs.views import Fault, JobInFull, view_job_in_full
from worker.store import submissions
from worker.store.listing import find_job
from worker.store.submissions import LONGEST_KEY, Upload
from worker.web.access import Caller
from worker.web.api.parameters import AsWritten
from worker.web.api.validation import WAYS, Validation
from worker.web.faults import MAPPING, NO_NUL, ONCE, SHOWN_FAULTS, VISIBLE_ASCII, known_name, spelt, to_fault
from worker.web.guards import GivenPlace, Writer
from worker.web.handing_in import (
    GivenHandingIn,
    HandingIn,
    Started,
    Work,
    require_doable,
)
from worker.web.http_errors import HttpError, error_answers, invalid_request
from worker.web.json_items import JobBody
from worker.web.json_reader import MOST_ITEMS
from worker.web.receiving import UNNAMED, receive_file, receive_form, receive_lines

LISTS = ("as_written", "map")  # options that are lists
PROLONG_EVERY_S = 20.0
JSON, CSV, FORM = "application/json", "text/csv", "multipart/form-data"

LOCATION = {"Location": {"description": "The job's address.", "schema": {"type": "string"}}}

T = TypeVar("T")
router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

Name = Annotated[str, Field(max_length=200, pattern=NO_NUL)]


def _declared(name: str, more: str = "", **given: Any) -> Any:
    """The option as it is declared for all faces, with `more` to say of it here."""
    option = OPTIONS[name]
    return Field(**{"default": option.default, "description": option.metadata["does"] + more} | given)


class NewJobOptions(BaseModel):
    """How a job is to run. As JSON, as fields of a form beside the file, or as parameters of the address."""

    model_config = ConfigDict(extra="forbid")

    source_name: Name | None = Field(
        None, description="What it is called in lists.", examples=["accounts.csv"]
    )
    operation: OperationName = _declared("operation")
    connector: Annotated[str, Field(max_length=1_000, pattern=NO_NUL)] | None = _declared("connector")
    sheet: Annotated[str, Field(max_length=200, pattern=NO_NUL)] | None = _declared("sheet")
    map: list[Annotated[str, Field(max_length=1_000, pattern=MAPPING)]] = _declared(
        "map", default=[], examples=[["Kontonummer=account_id"]]
    )
    first: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = _declared("first")
    skip_invalid: bool = _declared("skip_invalid")
    no_look: bool = _declared("no_look")
    overwrite: bool = _declared("overwrite")
    beside: bool = _declared("beside")
    replace_tokens: bool = _declared("replace_tokens")
    assume_method: bool = _declared("assume_method")
    allow_undeclared: bool = _declared("allow_undeclared")
    no_undo: bool = _declared("no_undo")
    look_again: bool = _declared("look_again")
    as_written: list[AsWritten] = _declared(
        "as_written",
        " Such as an account id `12345.0`, or a version `1.1` where there is a 1.10 too. As a parameter of the address once for"
        " each; as a field of a form with a comma between them.",
        default=[],
        examples=[["account_id"]],
    )

    def to_run_options(self) -> RunOptions:
        given = {name: getattr(self, name) for name in OPTIONS}
        return RunOptions(**given | {"as_written": frozenset(self.as_written), "map": frozenset(self.map)})


class NewJobItems(BaseModel):
    """Items as a list: each is a row of a file, its column names with their values."""

    model_config = ConfigDict(
        extra="forbid",
        title="NewJob",
        json_schema_extra={
            "examples": [
                {
                    "options": {"connector": "Northwind Mail"},
                    "items": [
                        {"account_id": "acme", "api_key": "5f1c…", "property.Region": "EU"},
                        {"account_id": "globex", "api_key": "77ab…", "property.Region": "US"},
                    ],
                }
            ]
        },
    )

    options: NewJobOptions = Field(default_factory=NewJobOptions)
    items: list[dict[Annotated[str, Field(max_length=200)], str | None]] = Field(
        min_length=1,
        max_length=MOST_ITEMS,
        description="The first item is row 2, as in a file with a header. Keys are the columns of a file, or of your own,"
        " which begin with `x_` and stand in the results again; values are texts.",
    )


class NewJobForm(NewJobOptions):
    """A file, and the options as fields beside it. A list may be one field with commas, or several fields."""

    file: bytes = Field(
        description="The CSV; its name is what the job is called in lists, unless `source_name` is given.",
        json_schema_extra={"format": "binary"},
    )


class Asked(NewJobOptions):
    """The parameters of the address."""

    validate_only: bool = Field(False, description="All checks, and nothing is created.")


class Submitted(JobInFull):
    """A job that was made now. `comments` and `empty` are told with this answer alone, and not kept."""

    comments: int = Field(description="Lines that begin with #; left out.")
    empty: int = Field(description="Empty lines; left out.")


@dataclass
class Received:
    """A request that has come whole. `hash`: of all that it asks for."""

    upload: Upload
    options: RunOptions
    hash: str


@router.post(
    "",
    operation_id="submitJob",
    summary="Hand in a job",
    status_code=202,
    response_model=None,  # several: see the answers
    responses={
        200: {
            "description": "With `validate_only` what was understood, and nothing was created. Else the job is there"
            " already: by an earlier request with this Idempotency-Key, or unfinished with the same content and options.",
            "model": JobInFull | Validation,
            "headers": LOCATION,
        },
        202: {
            "description": "The job is checked, stored and running.",
            "model": Submitted,
            "headers": LOCATION,
        },
        **error_answers(400, 403, 409, 413, 415),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"$ref": "#/components/schemas/NewJob"}},
                # Bytes, since it may be in any encoding that a file may have.
                CSV: {
                    "schema": {
                        "type": "string",
                        "format": "binary",
                        "examples": ["account_id,api_key\nacme,5f1c…\n"],
                    }
                },
                FORM: {"schema": {"$ref": "#/components/schemas/NewJobForm"}},
            },
        }
    },
)
async def submit(
    request: Request,
    response: Response,
    caller: Writer,
    place: GivenPlace,
    handing_in: GivenHandingIn,
    asked: Annotated[Asked, Query()],
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=LONGEST_KEY,
            pattern=VISIBLE_ASCII,
            description="Of your own choice, kept for 24 hours: the same key with the same request is the same job.",
        ),
    ] = None,
) -> Any:
    """JSON (options and items), a CSV as the body, or a form with a file; with the last two the options are parameters of
    the address, or fields of the form. Everything is checked first, Cyclr's catalogue too: a file with problems creates
    nothing and is answered with all of them. The answer comes when the job is stored, so nothing that was accepted can
    be lost."""
    received = await _receive(request, handing_in, caller, asked)
    try:
        if asked.validate_only:
            response.status_code = 200
            checked = await handing_in.check(received.upload, received.options).wait()
            require_doable(checked, received.options)
            return Validation.of(checked)
        started = await _start(place, handing_in, caller, received, idempotency_key)
        response.status_code = 202 if started.is_new else 200
        response.headers["Location"] = f"/v1/jobs/{started.job.id}"
        limiter = await place.limiter_state(started.job.instance_id)
        job = await run_in_threadpool(
            view_job_in_full, place.database.engine, started.job, place.clock.now(), limiter
        )
        if not started.is_new:
            return job
        return Submitted(**dict(job), comments=started.comments, empty=started.empty)
    except (Unreadable, Rejected) as error:
        raise _problems_in_file(error) from None
    finally:
        await run_in_threadpool(handing_in.forget, received.upload.id)


async def _receive(request: Request, handing_in: HandingIn, caller: Caller, asked: Asked) -> Received:
    _require_each_once(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    given = asked.model_dump(exclude_unset=True, exclude={"validate_only"})
    waiting, key_id = handing_in.waiting, caller.key_id
    if kind == JSON:
        async with handing_in.bodies.receive(request) as pieces, handing_in.bodies.turn:
            body = JobBody(pieces, faults_of_options)
            await run_in_threadpool(body.check)
            options = to_options(given | to_options(body.options).model_dump(exclude_unset=True))
            _require_to_fit(options)
            name = options.source_name or "items"
            form = await receive_lines(waiting, body.lines(), api_key_id=key_id, source_name=name)
    elif kind == CSV:
        options = to_options(given)
        _require_to_fit(options)
        name = options.source_name or UNNAMED
        form = await receive_file(waiting, request, api_key_id=key_id, source_name=name)
    elif kind == FORM:
        form = await receive_form(waiting, request, api_key_id=key_id, lists=LISTS)
        try:
            options = to_options(given | _given_by_form(form.fields))
            _require_to_fit(options)
        except HttpError:
            await run_in_threadpool(waiting.delete, form.upload.id)
            raise
    else:
        detail = f"Expected {JSON}, {CSV} or {FORM}, got {'another type' if kind else 'no Content-Type'}."
        raise HttpError(415, "unsupported_media_type", detail)
    asked_for = hashlib.sha256(
        f"{form.content_hash} {options.model_dump_json(exclude_defaults=True)}".encode()
    ).hexdigest()
    return Received(form.upload, replace(options.to_run_options(), is_list=kind == JSON), asked_for)


def _require_each_once(request: Request) -> None:
    """Of a parameter that is there twice only the last would count, and nobody would know. Raises: HttpError (422)."""
    given = Counter(name for name, _ in request.query_params.multi_items() if name not in LISTS)
    twice = [name for name, count in given.items() if count > 1]
    faults = [Fault(column=known_name(name), message=ONCE) for name in twice[:SHOWN_FAULTS]]
    if faults:
        raise invalid_request(*faults, count=len(twice))


def _given_by_form(fields: Mapping[str, str]) -> dict[str, Any]:
    """Those that are not empty; one that is a list has commas."""
    given: dict[str, Any] = {name: value for name, value in fields.items() if value}
    for name in LISTS:
        if name in given:
            given[name] = [word.strip() for word in given[name].split(",")]
    return given


def faults_of_options(options: Any) -> list[Fault]:
    """What is wrong with the options beside a list of items."""
    try:
        NewJobOptions.model_validate(options)
    except ValidationError as error:
        return _faults_of(error, "options")
    return []


def to_options(given: Mapping[str, Any]) -> NewJobOptions:
    """Each by itself as it may be. Raises: HttpError (422)."""
    try:
        return NewJobOptions.model_validate(given)
    except ValidationError as error:
        raise invalid_request(*_faults_of(error)[:SHOWN_FAULTS], count=error.error_count()) from None


def _require_to_fit(options: NewJobOptions) -> None:
    """Raises: HttpError (422) where some make no sense beside the others."""
    found = clashes(options.to_run_options(), spelt)
    faults = [Fault(column=name, message=why) for name, why in found]
    if faults:
        raise invalid_request(*faults)


def _faults_of(error: ValidationError, *within: str) -> list[Fault]:
    errors = error.errors(include_url=False)
    return [to_fault({**each, "loc": (*within, *each["loc"])}) for each in errors]


async def _start(
    place: Place, handing_in: HandingIn, caller: Caller, received: Received, key: str | None
) -> Started:
    upload, options = received.upload, received.options
    if key is None:
        return await handing_in.start(upload, options, api_key_id=caller.key_id).wait()
    engine = place.database.engine
    known_as = submissions.Request(caller.key_id, key, received.hash)
    known = await run_in_threadpool(submissions.begin_request, engine, known_as)
    match known.state:
        case "other":
            detail = "This Idempotency-Key came with another request before: use a new one for each."
            raise HttpError(422, "idempotency_key_reused", detail)
        case "busy":
            detail = "The request with this Idempotency-Key is still being worked on."
            raise HttpError(409, "still_running", detail, headers={"Retry-After": "5"})
        case "done":
            job = await run_in_threadpool(find_job, engine, known.job_id or "")
            if job is None:
                raise HttpError(
                    409, "job_forgotten", f"Job {known.job_id} of this Idempotency-Key was forgotten."
                )
            return Started(job, is_new=False)
    try:
        work = handing_in.start(upload, options, api_key_id=caller.key_id)
        started = await _prolonging(place, known_as, work)
    except BaseException:
        await run_in_threadpool(submissions.give_up_request, engine, known_as)
        raise
    await run_in_threadpool(submissions.complete_request, engine, known_as, started.job.id)
    return started


async def _prolonging(place: Place, known_as: submissions.Request, work: Work[T]) -> T:
    """The work's result; while it goes on, nobody takes the request for abandoned."""
    while True:
        try:
            return await asyncio.wait_for(work.wait(), PROLONG_EVERY_S)
        except TimeoutError:
            if work.is_done:
                return work.result()
            await run_in_threadpool(submissions.prolong_request, place.database.engine, known_as)


def _problems_in_file(error: Unreadable | Rejected) -> HttpError:
    problems, count = error.problems, getattr(error, "count", len(error.problems))
    detail = f"{counted(count, 'problem')}. Nothing was created."
    faults = [Fault.of(problem.told(WAYS)) for problem in problems[:SHOWN_FAULTS]]
    return HttpError(422, "problems_in_file", detail, errors=faults, error_count=count)
