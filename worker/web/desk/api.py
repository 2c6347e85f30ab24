"""The authorisation links of a job, for programs."""

from datetime import datetime, timedelta
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from worker.bootstrap.place import Place
from worker.store.asking import begin_round
from worker.store.desks import find_desk, list_authorised, list_waiting, make_links, withdraw_links
from worker.store.jobs import JobStatus
from worker.store.links import renew_link, withdraw_link
from worker.web.api.parameters import (
    FILE_NAME,
    PAGE,
    Cursor,
    JobId,
    Limit,
    NextCursor,
    RowNumber,
    Text,
    require_own_job,
    require_row_before,
)
from worker.web.desk.links import (
    find_links,
    links_file,
    no_links,
    no_such_row,
    require_links,
)
from worker.web.guards import GivenPlace, Reader, Writer
from worker.web.http_errors import error_answers
from worker.web.json_bodies import JsonRoute

DAYS, MOST_DAYS = 14, 90

router = APIRouter(prefix="/v1/jobs/{job_id}/authorisations", tags=["authorisations"], route_class=JsonRoute)


class Authorisation(BaseModel):
    """A row that is done and whose customer has to authorise, or has. `opened_at`: by the customer or by a mail scanner."""

    row: int
    account_id: str
    name: str
    connector: str
    link: str | None = Field(None, description="Only for a key of scope `write`, and while it holds.")
    withdrawn_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    authorised_at: datetime | None


class Authorisations(BaseModel):
    """How far the customers of a job are, and a page of them."""

    job_id: str
    waiting: int
    opened: int
    clicked: int
    authorised: int
    links_made_at: datetime | None
    links_expire_at: datetime | None = Field(description="Null: no links hold.")
    is_asking: bool = Field(description="Cyclr is being asked about all that wait.")
    asked_at: datetime | None
    items: list[Authorisation]
    next_cursor: NextCursor


class LinksWanted(BaseModel):
    """How long the links are to hold."""

    model_config = ConfigDict(extra="forbid")
    expires_in_days: int = Field(DAYS, ge=1, le=MOST_DAYS)


@router.get(
    "",
    operation_id="listAuthorisations",
    summary="Who has authorised, and who has still to",
    responses=error_answers(400, 404, 409),
)
def list_authorisations(
    job_id: JobId,
    caller: Reader,
    place: GivenPlace,
    state: Literal["waiting", "authorised"] = "waiting",
    account_id: Text = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Authorisations:
    """In the order of the file. Links are told to a key of scope `write` alone."""
    job = require_own_job(place, job_id)
    after = require_row_before(place, job_id, cursor)
    return view_authorisations(
        place,
        job,
        with_links=caller.can_write,
        state=state,
        after=after,
        limit=limit,
        account_id=account_id,
    )


@router.post(
    "",
    operation_id="makeLinks",
    summary="Make links, or let them hold longer",
    responses=error_answers(403, 404, 409),
)
def make(job_id: JobId, wanted: LinksWanted, caller: Writer, place: GivenPlace) -> Authorisations:
    """Every row of the job that is done and waits for its customer has a link from now on, also one that is done
    later. Links that were made before go on holding for the time they had, unless they were withdrawn."""
    job = require_own_job(place, job_id)
    require_links(place)
    make_links(place.database.engine, job_id, last=timedelta(days=wanted.expires_in_days))
    return view_authorisations(place, job, with_links=True)


@router.get(
    ".csv",
    operation_id="downloadLinks",
    summary="All links, for a mail merge",
    response_class=StreamingResponse,
    responses={
        200: {"headers": FILE_NAME, "content": {"text/csv": {"schema": {"type": "string"}}}},
        **error_answers(403, 404, 409),
    },
)
def download(job_id: JobId, caller: Writer, place: GivenPlace) -> Response:
    """`account_id`, `name`, `connector`, `link`, `expires_at` of every row that waits, in the order of the file."""
    return links_file(place, job_id)


@router.post(
    "/withdraw",
    operation_id="withdrawLinks",
    status_code=204,
    summary="Withdraw all links",
    responses=error_answers(403, 404, 409),
)
def withdraw_all(job_id: JobId, caller: Writer, place: GivenPlace) -> None:
    """No link of the job holds any more. A second call changes nothing."""
    require_own_job(place, job_id)
    withdraw_links(place.database.engine, job_id)


@router.post(
    "/ask",
    operation_id="askForAuthorisations",
    status_code=202,
    summary="Ask Cyclr who has authorised",
    responses=error_answers(403, 404, 409),
)
def ask(job_id: JobId, caller: Writer, place: GivenPlace) -> Response:
    """Cyclr is asked about all rows that wait, with a quarter of the limit of calls at most."""
    require_own_job(place, job_id)
    if find_desk(place.database.engine, job_id) is None:
        raise no_links(job_id)
    begin_round(place.database.engine, job_id)
    return Response(status_code=202)


@router.post(
    "/{row}/withdraw",
    operation_id="withdrawLink",
    status_code=204,
    summary="Withdraw one link",
    responses=error_answers(403, 404, 409),
)
def withdraw_one(job_id: JobId, row: RowNumber, caller: Writer, place: GivenPlace) -> None:
    """The link of this row holds no more, and none is made for it until it is renewed."""
    require_own_job(place, job_id)
    if not withdraw_link(place.database.engine, job_id, row):
        raise no_such_row(job_id, row)


@router.post(
    "/{row}/renew",
    operation_id="renewLink",
    status_code=204,
    summary="Give a row whose link was withdrawn another one",
    responses=error_answers(403, 404, 409),
)
def renew_one(job_id: JobId, row: RowNumber, caller: Writer, place: GivenPlace) -> None:
    """The link that was withdrawn stays dead."""
    require_own_job(place, job_id)
    if not renew_link(place.database.engine, job_id, row):
        raise no_such_row(job_id, row)


def view_authorisations(
    place: Place,
    job: JobStatus,
    *,
    with_links: bool,
    state: str = "waiting",
    after: int = 0,
    limit: int = PAGE,
    account_id: str | None = None,
) -> Authorisations:
    """How far the customers are, and those of this state behind the row `after`."""
    engine = place.database.engine
    desk = find_desk(engine, job.id)
    listed = list_waiting if state == "waiting" else list_authorised
    found = listed(engine, job.id, after=after, limit=limit + 1, account_id=account_id)
    shown = found[:limit]
    links = find_links(place) if with_links else None
    return Authorisations(
        job_id=job.id,
        waiting=job.to_authorise,
        opened=desk.opened if desk else 0,
        clicked=desk.clicked if desk else 0,
        authorised=desk.authorised if desk else 0,
        links_made_at=desk.made_at if desk else None,
        links_expire_at=desk.expires_at if desk and desk.holds else None,
        is_asking=desk is not None and desk.asking_after is not None,
        asked_at=desk.asked_at if desk else None,
        items=[
            Authorisation(
                row=item.row_number,
                account_id=item.account_id,
                name=item.name,
                connector=item.connector_name,
                link=links.find_url(desk, item) if links and desk else None,
                withdrawn_at=item.withdrawn_at,
                opened_at=item.opened_at,
                clicked_at=item.clicked_at,
                authorised_at=item.authorised_at,
            )
            for item in shown
        ],
        next_cursor=str(shown[-1].row_number) if len(found) > limit else None,
    )
