"""The desk of a job for those who look after an onboarding: links, and whose customers have authorised."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response

from worker.domain.words import counted
from worker.store.desks import find_desk, list_waiting, make_links
from worker.store.jobs import JobStatus
from worker.web.api.parameters import LARGEST_ROW, JobId, PageText, RowNumber, Text, require_own_job
from worker.web.desk import api
from worker.web.desk.api import DAYS, MOST_DAYS, view_authorisations
from worker.web.desk.links import links_file, no_such_row, require_links
from worker.web.guards import GivenPlace, PageReader, PageWriter
from worker.web.pages.rendering import address, go_and_tell, render, render_and_tell, with_names
from worker.web.pages.steering import Question

PAGE = 50
WAITING, AUTHORISED = "waiting", "authorised"

router = APIRouter(prefix="/jobs/{job_id}/authorisations", include_in_schema=False)


@router.get("")
def desk_page(
    request: Request,
    job_id: JobId,
    caller: PageReader,
    place: GivenPlace,
    state: PageText = WAITING,
    account: Text = None,
    after: Annotated[int, Query(ge=0, le=LARGEST_ROW)] = 0,
) -> Response:
    job = require_own_job(place, job_id)
    state, account = AUTHORISED if state == AUTHORISED else WAITING, (account or "").strip()
    view = view_authorisations(
        place,
        job,
        with_links=caller.can_write,
        state=state,
        after=after,
        limit=PAGE,
        account_id=account or None,
    )
    desk_path, query = f"/jobs/{job_id}/authorisations", {"state": state, "account": account}
    return render_and_tell(
        request,
        "desk/desk.html",
        section="jobs",
        job=job,
        desk=find_desk(place.database.engine, job_id),
        missing=place.settings.missing_for_desk(),
        rows=view.items,
        state=state,
        account=account,
        first=f"{address(desk_path, query)}#items" if after > 0 else None,
        next=f"{address(desk_path, query | {'after': view.next_cursor})}#items" if view.next_cursor else None,
        page_size=PAGE,
        days=DAYS,
        most_days=MOST_DAYS,
    )


@router.get(".csv")
def download(job_id: JobId, caller: PageWriter, place: GivenPlace) -> Response:
    return links_file(place, job_id)


@router.post("")
def make(
    request: Request,
    job_id: JobId,
    caller: PageWriter,
    place: GivenPlace,
    days: Annotated[int, Form(ge=1, le=MOST_DAYS)] = DAYS,
) -> Response:
    require_own_job(place, job_id)
    require_links(place)
    make_links(place.database.engine, job_id, last=timedelta(days=days))
    return _back(request, job_id, "links-made")


@router.get("/withdraw")
def ask_withdraw(request: Request, job_id: JobId, caller: PageWriter, place: GivenPlace) -> Response:
    job = require_own_job(place, job_id)
    desk = find_desk(place.database.engine, job_id)
    waiting = job.to_authorise
    can = desk is not None and desk.batch is not None
    sentences = [
        f"{counted(waiting, 'customer')} who still {'has' if waiting == 1 else 'have'} to authorise"
        f" can no longer use the link in their mail: it says that it is not in use any more.",
        "What has been authorised stays authorised. New links can be made at any time; those from before stay dead.",
    ]
    nothing = "No link of this job holds, so there is nothing to withdraw."
    return _ask_to_withdraw(request, job, "all links", sentences if can else [nothing], can=can)


@router.post("/withdraw")
def withdraw_all(request: Request, job_id: JobId, caller: PageWriter, place: GivenPlace) -> Response:
    api.withdraw_all(job_id, caller, place)
    return _back(request, job_id, "links-withdrawn")


@router.post("/ask")
def ask(request: Request, job_id: JobId, caller: PageWriter, place: GivenPlace) -> Response:
    api.ask(job_id, caller, place)
    return _back(request, job_id, "asked")


@router.get("/{row}/withdraw")
def ask_withdraw_one(
    request: Request, job_id: JobId, row: RowNumber, caller: PageWriter, place: GivenPlace
) -> Response:
    job = require_own_job(place, job_id)
    found = list_waiting(place.database.engine, job_id, after=row - 1, limit=1)
    if not found or found[0].row_number != row:
        raise no_such_row(job_id, row)
    [item] = found
    can = item.withdrawn_at is None
    sentences = [
        with_names(
            "Account {}, Name {}: the link in the customer's mail can no longer be used. It says that it is not in use any more.",
            item.account_id,
            item.name,
        ),
        "The row has no link until somebody presses New link. The old one stays dead.",
    ]
    nothing = "The link of this row is withdrawn already."
    which = f"the link of row {row:,}"
    return _ask_to_withdraw(request, job, which, sentences if can else [nothing], can=can, row=f"/{row}")


@router.post("/{row}/withdraw")
def withdraw_one(
    request: Request, job_id: JobId, row: RowNumber, caller: PageWriter, place: GivenPlace
) -> Response:
    api.withdraw_one(job_id, row, caller, place)
    return _back(request, job_id, "link-withdrawn")


@router.post("/{row}/renew")
def renew_one(
    request: Request, job_id: JobId, row: RowNumber, caller: PageWriter, place: GivenPlace
) -> Response:
    api.renew_one(job_id, row, caller, place)
    return _back(request, job_id, "link-renewed")


def _ask_to_withdraw(
    request: Request, job: JobStatus, which: str, sentences: Sequence[str], *, can: bool, row: str = ""
) -> Response:
    desk = f"/jobs/{job.id}/authorisations"
    question = Question(
        f"{desk}{row}/withdraw",
        f"Withdraw {which}?",
        sentences,
        f"Withdraw {which}",
        "danger",
        can=can,
        back=desk,
        back_label="Back to the authorisations",
    )
    return render(request, "pages/confirm.html", section="jobs", job=job, question=question)


def _back(request: Request, job_id: str, done: str) -> Response:
    return go_and_tell(request, f"/jobs/{job_id}/authorisations", done)
