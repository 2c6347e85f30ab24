"""Which accounts rows were for; every row of one of them, over all jobs."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from worker.jobs.accounts import list_account_items
from worker.store.accounts import find_account_ids
from worker.web.api.parameters import PageText, require_item_before
from worker.web.faults import NO_NUL
from worker.web.guards import GivenPlace, PageReader
from worker.web.http_errors import HttpError
from worker.web.pages.rendering import address, render
from worker.web.pages.rows import what_came_of

PAGE = 25
AccountId = Annotated[str, Path(max_length=1_000, pattern=NO_NUL)]

router = APIRouter()


def account_address(account_id: str) -> str:
    return f"/accounts/{quote(account_id, safe='')}"


@router.get("/accounts")
def accounts_page(
    request: Request, caller: PageReader, place: GivenPlace, q: PageText = "", after: PageText = ""
) -> Response:
    begins = q.strip()
    found = find_account_ids(place.database.engine, begins, after=after or None, limit=PAGE + 1)
    shown = found[:PAGE]
    return render(
        request,
        "pages/accounts.html",
        section="accounts",
        accounts=[(account_id, account_address(account_id)) for account_id in shown],
        q=begins,
        more=address("/accounts", {"q": begins, "after": shown[-1]}) if len(found) > PAGE else None,
    )


@router.get("/accounts/{account_id:path}")
def account_page(
    request: Request, account_id: AccountId, caller: PageReader, place: GivenPlace, before: PageText = ""
) -> Response:
    found, following = list_account_items(
        place.database.engine, account_id, before=require_item_before(before or None), limit=PAGE
    )
    if not found and not before:
        raise HttpError(404, "unknown_account", f"No row of any job was for an account {account_id}.")
    return render(
        request,
        "pages/account.html",
        section="accounts",
        account_id=account_id,
        rows=[(item, what_came_of(item)) for item in found],
        more=None if following is None else address(account_address(account_id), {"before": str(following)}),
    )
