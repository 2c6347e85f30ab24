"""The result file: the input's columns, what came of each row, and nothing that a spreadsheet would run."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from worker.intake.columns import RESULT_COLUMNS, canonical
from worker.intake.escapes import escape

# Without it spreadsheets take UTF-8 for the code page of the machine.
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A line of a result file. `cells`: as in `PlannedRow`, `RefusedRow` or `SkippedRow`, so without secrets.

    All values are text as shown; empty where there is nothing to say.
    """

    cells: tuple[str, ...]
    job: str
    row: str
    state: str
    outcome: str = ""
    code: str = ""
    message: str = ""
    account_connector_id: str = ""
    attempts: str = ""
    authenticated: str = ""
    differs: str = ""
    account_created: str = ""

    def results(self) -> tuple[str, ...]:
        """The values of `RESULT_COLUMNS`, in their order."""
        return (
            self.job,
            self.row,
            self.state,
            self.outcome,
            self.code,
            self.message,
            self.account_connector_id,
            self.attempts,
            self.authenticated,
            self.differs,
            self.account_created,
        )


def iter_result_lines(
    columns: Sequence[str], rows: Iterable[ResultRow], *, delimiter: str = ","
) -> Iterator[str]:
    """The result file, line by line, with a byte order mark in front; to be encoded as UTF-8.

    `columns`: the input's, as typed; the result columns of an earlier result file are left out and written anew at the
    end. `delimiter`: the input's, so that the same spreadsheet opens it.
    """
    kept = [position for position, column in enumerate(columns) if canonical(column) not in RESULT_COLUMNS]
    line = io.StringIO(newline="")
    writer = csv.writer(line, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow([*(escape(columns[position]) for position in kept), *RESULT_COLUMNS])
    yield BYTE_ORDER_MARK + line.getvalue()
    for row in rows:
        line.seek(0)
        line.truncate()
        cells = (row.cells[position] for position in kept)
        writer.writerow([escape(cell) for cell in (*cells, *row.results())])
        yield line.getvalue()


def write_results(
    out: TextIO, columns: Sequence[str], rows: Iterable[ResultRow], *, delimiter: str = ","
) -> int:
    """Writes the result file (`iter_result_lines`) as a stream and returns the number of rows.

    `out`: opened with `encoding="utf-8", newline=""`.
    """
    count = -1  # the header is no row
    for line in iter_result_lines(columns, rows, delimiter=delimiter):
        out.write(line)
        count += 1
    return count
