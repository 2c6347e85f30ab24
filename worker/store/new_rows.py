"""What a row of a file becomes in `items`, or in `unloaded_rows`."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from worker.domain.failures import ToldFailure
from worker.domain.rows import PlannedRow, Problem, RefusedRow, SkippedRow, Warning_
from worker.domain.states import ItemState
from worker.store.sealing import Sealer

UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")  # PostgreSQL takes no NUL, and no database half a character


class UnstorableText(ToldFailure):
    """A row holds a text that the database cannot keep. The intake refuses such rows; this is the last line."""

    def __init__(self, row_number: int, column: str) -> None:
        super().__init__(
            f"row {row_number}, column {column}: expected text, got a NUL or half a character; nothing was installed"
        )
        self.row_number = row_number
        self.column = column


def storable(text: str) -> str:
    """The text with `?` for what no database takes: a file's name, say, may hold any byte."""
    return UNSTORABLE.sub("?", text)


def new_item(
    planned: PlannedRow,
    sealer: Sealer,
    *,
    job_id: str,
    connector_id: int,
    due_at: datetime,
    account_exists: bool,
) -> dict[str, Any]:
    """The row of `items`, secrets sealed. Raises: UnstorableText."""
    row, account = planned.row, planned.row.account
    texts = {
        "account_id": row.account_id,
        "name": planned.name,
        "authentication_id": planned.authentication_id,
        "description": row.description,
        "account_name": account.name if account else None,
        "account_description": account.description if account else None,
        "account_timezone": account.timezone if account else None,
    }
    _check(texts, row.number)
    return texts | {
        "job_id": job_id,
        "row_number": row.number,
        "target": planned.target,
        "connector_id": connector_id,
        "cells": list(planned.cells),
        "sealed": sealer.seal(planned.secrets, job_id=job_id, row_number=row.number),
        "state": ItemState.QUEUED,
        "due_at": due_at,
        "must_look": planned.must_look,
        "account_exists": account_exists,
    }


def _check(texts: Mapping[str, str | None], row_number: int) -> None:
    for column, text in texts.items():
        if text and UNSTORABLE.search(text):
            raise UnstorableText(row_number, column)


def new_warning(warning: Warning_) -> dict[str, Any]:
    """One of those that `job_warnings` keeps."""
    column = None if warning.column is None else storable(warning.column)
    return {
        "row": warning.row_number,
        "column": column,
        "reason": storable(warning.reason),
        "count": warning.count,
        "spans": list(map(list, warning.spans)),
    }


def new_unloaded_row(row: RefusedRow | SkippedRow, *, job_id: str) -> dict[str, Any]:
    """The row of `unloaded_rows`: with its problems, or with the item that holds its target."""
    unloaded: dict[str, Any] = {
        "job_id": job_id,
        "row_number": row.number,
        "cells": list(row.cells),
        "problems": None,
        "installed_job_id": None,
        "installed_row_number": None,
    }
    match row:
        case RefusedRow():
            return unloaded | {"problems": [_new_problem(problem) for problem in row.problems]}
        case SkippedRow():
            return unloaded | {"installed_job_id": row.job_id, "installed_row_number": row.row_number}


def _new_problem(problem: Problem) -> dict[str, Any]:
    told = {"column": problem.column, "reason": problem.reason}
    return told if problem.way is None else told | {"way": problem.way}
