"""The result file: the input's columns, what came of each row, and nothing that a spreadsheet would run."""

import csv
from collections.abc import Iterable, Sequence
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


def write_results(
    out: TextIO, columns: Sequence[str], rows: Iterable[ResultRow], *, delimiter: str = ","
) -> int:
    """Writes the result file as a stream and returns the number of rows.

    `out`: opened with `encoding="utf-8", newline=""`; it begins with a byte order mark. `columns`: the
    input's, as typed; the result columns of an earlier result file are left out and written anew at the end.
    `delimiter`: the input's, so that the same spreadsheet opens it.
    """
    kept = [position for position, column in enumerate(columns) if canonical(column) not in RESULT_COLUMNS]
    out.write(BYTE_ORDER_MARK)
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow([*(escape(columns[position]) for position in kept), *RESULT_COLUMNS])
    count = 0
    for row in rows:
        cells = (row.cells[position] for position in kept)
        writer.writerow([escape(cell) for cell in (*cells, *row.results())])
        count += 1
    return count
