"""A new job: a file is dropped, checked before anything is sent, and started."""

import asyncio
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from markupsafe import Markup

from worker.bootstrap.place import Place
from worker.domain.connectors import Connector, ConnectorRef
from worker.domain.options import RunOptions
from worker.domain.words import counted
from worker.intake import Unreadable, template
from worker.intake.findings import Rejected
from worker.jobs.checking import Checked
from worker.jobs.loading import find_unfinished
from worker.jobs.views import earlier_lines
from worker.store.submissions import Upload
from worker.web.access import Caller
from worker.web.api.connectors import GivenCatalogue
from worker.web.api.parameters import PageText, UploadId
from worker.web.faults import NO_NUL
from worker.web.files import attachment
from worker.web.guards import FORM_TOKEN, GivenPlace, PageUploader, PageWriter, require_form_token
from worker.web.handing_in import GivenHandingIn, HandingIn, Started, Work
from worker.web.http_errors import HttpError, to_http_error
from worker.web.pages.checks import WAYS, Check
from worker.web.pages.options import OptionFields, as_query, options_of
from worker.web.pages.rendering import go_and_tell, render
from worker.web.receiving import receive_form

WAITS_S = 0.5  # so long a click waits for what it began; then it is shown as it goes on

router = APIRouter()


@router.get("/jobs/new")
def new_job_page(request: Request, caller: PageWriter, handing_in: GivenHandingIn) -> Response:
    return _new_job(request, handing_in, caller)


def _new_job(
    request: Request, handing_in: HandingIn, caller: Caller, *, status: int = 200, fault: str | None = None
) -> Response:
    """The page, with the files that wait for a word of whoever dropped them."""
    waiting = handing_in.waiting.list(api_key_id=caller.key_id)
    return render(
        request,
        "pages/new_job.html",
        status=status,
        section="new",
        fault=fault,
        waiting=waiting,
        fields=OptionFields.of(RunOptions()),
    )


@router.post("/jobs/new")
async def upload_file(request: Request, caller: PageUploader, handing_in: GivenHandingIn) -> Response:
    """Keeps the file, sealed, and leads to its check. What is to be done with it stands before it in the form."""
    options = RunOptions()

    def check_fields(fields: dict[str, str]) -> None:
        nonlocal options
        require_form_token(request, fields.get(FORM_TOKEN, ""))
        options = options_of(fields.items())

    try:
        form = await receive_form(
            handing_in.waiting, request, api_key_id=caller.key_id, check_fields=check_fields
        )
    except HttpError as error:
        return await asyncio.to_thread(
            _new_job, request, handing_in, caller, status=error.status_code, fault=error.detail
        )
    return RedirectResponse(_address(form.upload.id, options), status_code=303)


@router.get("/jobs/new/connectors")
async def connector_names(query: PageText = "", *, caller: PageWriter, catalogue: GivenCatalogue) -> Response:
    """Options for the field that asks for a connector."""
    try:
        reader, account_id = await catalogue.open()
    except HttpError:  # no account yet
        return HTMLResponse("")
    found = reader.iter_connectors(account_id, query.strip() or None)
    names = dict.fromkeys([connector.name async for connector in found if not connector.is_draft])
    return HTMLResponse(Markup("").join(Markup('<option value="{}">').format(name) for name in names))


@router.get("/jobs/new/template.csv")
async def template_file(connector: PageText, caller: PageWriter, catalogue: GivenCatalogue) -> Response:
    reader, account_id = await catalogue.open()
    found = await reader.resolve(account_id, ConnectorRef(connector.strip()))
    if not isinstance(found, Connector):
        raise HttpError(404, "unknown_connector", f"{found[:1].upper()}{found[1:]}.")
    headers = attachment(f"{found.name}.csv")
    return PlainTextResponse(template(found), media_type="text/csv; charset=utf-8", headers=headers)


def _options_of_address(request: Request) -> RunOptions:
    """Raises: HttpError (422)."""
    return options_of(request.query_params.multi_items())


async def _options_of_form(request: Request) -> RunOptions:
    """Raises: HttpError (422)."""
    fields = (await request.form()).multi_items()
    return options_of((name, value) for name, value in fields if isinstance(value, str))


@router.get("/uploads/{upload_id}")
async def upload_page(
    request: Request,
    upload_id: UploadId,
    caller: PageWriter,
    place: GivenPlace,
    handing_in: GivenHandingIn,
    options: Annotated[RunOptions, Depends(_options_of_address)],
) -> Response:
    """How the check stands, what it found, how the start stands; where it has become a job, the way there."""
    start = handing_in.find_start(upload_id)
    if start is not None and start.is_done and start.future.exception() is None:
        started = start.result()
        return go_and_tell(request, f"/jobs/{started.job.id}", "started" if started.is_new else "known")
    upload = await asyncio.to_thread(_find_upload, handing_in, upload_id, caller.key_id)
    is_starting = start is not None and not start.is_done
    fields = OptionFields.of(options)
    if start is not None and is_starting:
        check = Check.running(start.progress)
    elif fields.faults:
        check = Check.impossible()
    else:
        check = await _check(place, handing_in, upload, options)
    fault = None if start is None or is_starting else why_not_started(start)
    return render(
        request,
        "pages/upload.html",
        section="new",
        upload=upload,
        address=_address(upload_id, options),
        fields=fields,
        check=check,
        is_starting=is_starting,
        fault=fault,
    )


@router.get("/uploads/{upload_id}/problems.csv")
def problems_file(
    upload_id: UploadId,
    caller: PageWriter,
    handing_in: GivenHandingIn,
    options: Annotated[RunOptions, Depends(_options_of_address)],
) -> Response:
    """The rows with problems that the check with these options has found."""
    upload = _find_upload(handing_in, upload_id, caller.key_id)
    work = handing_in.find_check(upload, options)
    if work is None or not work.is_done or work.future.exception() is not None:
        raise HttpError(
            409, "not_checked", "This file is not checked with these options: look at its page again."
        )
    pieces = handing_in.iter_problems(work.result(), WAYS)
    headers = attachment(f"{PurePath(upload.source_name).stem}.problems.csv")
    return StreamingResponse(pieces, media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/uploads/{upload_id}/check")
async def check_again(
    upload_id: UploadId,
    caller: PageWriter,
    handing_in: GivenHandingIn,
    options: Annotated[RunOptions, Depends(_options_of_form)],
) -> Response:
    """With other options, or once more where a check failed."""
    upload = await asyncio.to_thread(_find_upload, handing_in, upload_id, caller.key_id)
    if not OptionFields.of(options).faults:
        handing_in.check(upload, options)
    return RedirectResponse(_address(upload_id, options), status_code=303)


@router.post("/uploads/{upload_id}/start")
async def start_upload(
    upload_id: UploadId,
    caller: PageWriter,
    handing_in: GivenHandingIn,
    options: Annotated[RunOptions, Depends(_options_of_form)],
    checked: Annotated[str, Form(max_length=100_000, pattern=NO_NUL)] = "",
) -> Response:
    """`checked`: the options of the check that the page shows. What is chosen otherwise is shown checked before it is started."""
    upload = await asyncio.to_thread(_find_upload, handing_in, upload_id, caller.key_id)
    fields = OptionFields.of(options)
    if fields.faults or checked != fields.as_query:
        return RedirectResponse(_address(upload_id, options), status_code=303)
    await _wait_a_moment(handing_in.start(upload, options, api_key_id=caller.key_id))
    return RedirectResponse(_address(upload_id, options), status_code=303)


@router.post("/uploads/{upload_id}/discard")
def discard_upload(upload_id: UploadId, caller: PageWriter, handing_in: GivenHandingIn) -> Response:
    """Deletes the file. A second call is safe."""
    upload = handing_in.waiting.find(upload_id, api_key_id=caller.key_id)
    if upload is not None:
        handing_in.forget(upload.id)
    return RedirectResponse("/jobs/new", status_code=303)


async def _check(place: Place, handing_in: HandingIn, upload: Upload, options: RunOptions) -> Check:
    work = handing_in.find_check(upload, options) or handing_in.check(upload, options)
    await _wait_a_moment(work)
    if not work.is_done:
        return Check.running(work.progress)
    try:
        return await asyncio.to_thread(_finished, place, work.result(), options)
    except (Unreadable, Rejected) as error:
        return Check.unusable(error)
    except Exception as error:  # noqa: BLE001 - what it is, is said where errors become words
        return Check.failed(to_http_error(error).detail)


def _finished(place: Place, checked: Checked, options: RunOptions) -> Check:
    database = place.database
    unfinished = find_unfinished(database.engine, database.instance_id, checked.source.content_hash, options)
    return Check.finished(
        checked,
        unfinished=unfinished.job if unfinished else None,
        earlier=list(earlier_lines(database.engine, checked.done_by)),
        kept_for_h=place.settings.cyclr_secret_retention_h,
    )


def why_not_started(start: Work[Started]) -> str:
    """Of a start that failed."""
    error = start.future.exception()
    assert error is not None
    if isinstance(error, Rejected):
        first = f", the first: {error.problems[0]}" if error.problems else ""
        return f"{counted(error.count, 'row')} cannot be done any more since the check{first}. Drop the file again."
    return to_http_error(error).detail if isinstance(error, Exception) else "The server is about to end."


def _find_upload(handing_in: HandingIn, upload_id: str, key_id: str) -> Upload:
    """Raises: HttpError (404)."""
    upload = handing_in.waiting.find(upload_id, api_key_id=key_id)
    if upload is None:
        detail = "This file is no longer kept: it was started or discarded, or it waited for an hour. Drop it again."
        raise HttpError(404, "unknown_upload", detail)
    return upload


async def _wait_a_moment(work: Work[Any]) -> None:
    waited = asyncio.wrap_future(work.future)
    # How the work failed is told where its result is asked for; a future whose exception nobody looked at is logged with it.
    waited.add_done_callback(asyncio.Future.exception)
    await asyncio.wait([waited], timeout=WAITS_S)


def _address(upload_id: str, options: RunOptions) -> str:
    asked = as_query(options)
    return f"/uploads/{upload_id}{'?' if asked else ''}{asked}"
