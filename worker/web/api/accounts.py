"""What was done in an account, over all jobs."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from worker.jobs.accounts import AccountItem, list_account_items
from worker.store.accounts import find_account_ids
from worker.web.api.parameters import PAGE, Cursor, Limit, NextCursor, require_item_before
from worker.web.faults import NO_NUL
from worker.web.guards import GivenPlace, Reader
from worker.web.http_errors import HttpError, error_answers

router = APIRouter(prefix="/v1/accounts", tags=["accounts"])
AccountId = Annotated[str, Path(max_length=1_000, pattern=NO_NUL, examples=["acme"])]


class AccountIds(BaseModel):
    """A page of account ids, in the order of their letters' numbers."""

    account_ids: list[str]
    next_cursor: NextCursor


class AccountItems(BaseModel):
    """A page of the items that were for an account, the newest first."""

    account_id: str
    items: list[AccountItem]
    next_cursor: NextCursor


@router.get("", operation_id="listAccounts", summary="Find accounts", responses=error_answers(400))
def list_accounts(
    caller: Reader,
    place: GivenPlace,
    q: Annotated[
        str, Query(max_length=1_000, pattern=NO_NUL, description="How the id begins, in the same case.")
    ] = "",
    cursor: Annotated[
        str | None,
        Query(max_length=1_000, pattern=NO_NUL, description="`next_cursor` of the page before this one."),
    ] = None,
    limit: Limit = PAGE,
) -> AccountIds:
    """Those that rows of any job were for. Accounts that Cyclr has and no row named are not among them."""
    found = find_account_ids(place.database.engine, q, after=cursor, limit=limit + 1)
    shown = found[:limit]
    return AccountIds(account_ids=shown, next_cursor=shown[-1] if len(found) > limit else None)


@router.get(
    "/{account_id:path}",
    operation_id="getAccount",
    summary="What was done in an account",
    responses=error_answers(400, 404),
)
def get_account(
    account_id: AccountId, caller: Reader, place: GivenPlace, cursor: Cursor = None, limit: Limit = PAGE
) -> AccountItems:
    """Every row of every job that was for it, the newest first. The id in the same case."""
    before = require_item_before(cursor)
    found, following = list_account_items(place.database.engine, account_id, before=before, limit=limit)
    if not found and before is None:
        raise HttpError(404, "unknown_account", f"No row of any job was for an account {account_id}.")
    return AccountItems(
        account_id=account_id, items=found, next_cursor=None if following is None else str(following)
    )
