"""What came of every line of the file, as a file that is itself a valid input."""

import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker.domain.rows import NO_WAYS, Problem, Ways
from worker.domain.states import Code, ItemState
from worker.domain.words import DONE, with_advice
from worker.intake import ResultRow, iter_result_lines
from worker.intake.result_workbooks import iter_result_workbook
from worker.store.jobs import find_stored_item, get_job, iter_results
from worker.store.session import Engine

PIECE_CHARACTERS = 64_000
REFUSED = "refused"  # the state of a row that became no item


def write_result_file(
    engine: Engine, job_id: str, path: Path, *, reason: str | None = None, ways: Ways = NO_WAYS
) -> int:
    """The number of rows written. The file appears whole or not at all, and only its owner may read it. One that ends in .xlsx is a
    workbook.

    `reason`: only failed rows with this key; `ways`: for the problems of refused rows. Raises: NoRoom, where a sheet cannot hold it.
    """
    job = get_job(engine, job_id)
    count = 0

    def counted() -> Iterator[ResultRow]:
        nonlocal count
        for row in _rows(engine, job_id, ways, reason=reason):
            count += 1
            yield row

    with appearing_whole(path) as out:
        if path.suffix.casefold() == ".xlsx":
            for piece in iter_result_workbook(job.columns, counted()):
                out.buffer.write(piece)
        else:
            out.writelines(iter_result_lines(job.columns, counted(), delimiter=job.delimiter))
    return count


@contextmanager
def appearing_whole(path: Path) -> Iterator[io.TextIOWrapper]:
    """A text file that is there when the context ends, or not at all; only its owner may read it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with io.TextIOWrapper(os.fdopen(handle, "wb"), encoding="utf-8", newline="") as out:
            yield out
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def iter_result_file(
    engine: Engine,
    job_id: str,
    *,
    state: str | None = None,
    reason: str | None = None,
    ways: Ways = NO_WAYS,
) -> Iterator[str]:
    """The result file as it stands now, in pieces of about 64,000 characters. `state`: only rows in this one, done ones by either word; `reason`: only
    failed rows with this key; `ways`: for the problems of refused rows.
    """
    job = get_job(engine, job_id)
    rows = _rows(engine, job_id, ways, state, reason)
    lines = iter_result_lines(job.columns, rows, delimiter=job.delimiter)
    return in_pieces(lines)


def iter_workbook(engine: Engine, job_id: str, *, ways: Ways = NO_WAYS) -> Iterator[bytes]:
    """The result file as a workbook, in pieces. Raises: NoRoom, on the way."""
    return iter_result_workbook(get_job(engine, job_id).columns, _rows(engine, job_id, ways))


def in_pieces(lines: Iterable[str]) -> Iterator[str]:
    """The same text in pieces of about 64,000 characters."""
    piece: list[str] = []
    size = 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= PIECE_CHARACTERS:
            yield "".join(piece)
            piece, size = [], 0
    yield "".join(piece)


def _rows(
    engine: Engine, job_id: str, ways: Ways, state: str | None = None, reason: str | None = None
) -> Iterator[ResultRow]:
    told = DONE if state == ItemState.INSTALLED else state
    stored = ItemState.INSTALLED if state == DONE else state
    for row in iter_results(engine, job_id, state=stored, reason=reason):
        if hasattr(row, "problems"):
            unloaded = _unloaded(engine, row, ways)
            if told in (None, unloaded.state):
                yield unloaded
        else:
            yield _result(row, tuple(row.cells))


def _result(item: Any, cells: tuple[str, ...]) -> ResultRow:
    is_installed = item.state == ItemState.INSTALLED
    return ResultRow(
        cells=cells,
        job=item.job_id,
        row=str(item.row_number),
        state=DONE if is_installed else item.state,
        outcome=item.outcome or "",
        code=item.code or "",
        message=with_advice(item.state, item.code, item.message),
        account_connector_id="" if item.account_connector_id is None else str(item.account_connector_id),
        attempts=str(item.attempts),
        authenticated=_yes_no(item.is_authenticated) if is_installed else "",
        differs=", ".join(item.differs or ()),
        changed=", ".join(item.changed or ()),
        account_created=_yes_no(item.account_created),
    )


def _unloaded(engine: Engine, row: Any, ways: Ways) -> ResultRow:
    cells = tuple(row.cells)
    if row.problems is None:
        # Installed by an earlier job: its result stands.
        item = find_stored_item(engine, row.installed_job_id, row.installed_row_number)
        if item is not None:
            return _result(item, cells)
        return ResultRow(cells, row.installed_job_id, str(row.installed_row_number), DONE)
    problems = [Problem(None, p["column"], p["reason"], way=p.get("way")) for p in row.problems]
    message = "; ".join(str(problem.told(ways)) for problem in problems)
    return ResultRow(
        cells, row.job_id, str(row.row_number), REFUSED, code=Code.REFUSED_AT_INTAKE, message=message
    )


def _yes_no(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"
