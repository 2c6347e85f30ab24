"""All links of a job as a CSV, for a mail merge."""

import csv
import io
from collections.abc import Iterable, Iterator

from worker.intake.escapes import escape
from worker.intake.results import BYTE_ORDER_MARK
from worker.store.desks import Desk, DeskItem

COLUMNS = ("account_id", "name", "connector", "link", "expires_at")
ROWS_AT_ONCE = 200


def iter_mail_merge(desk: Desk, linked: Iterable[tuple[DeskItem, str]], *, delimiter: str) -> Iterator[str]:
    """The file, piece by piece; it begins with a byte order mark. `linked`: from `AuthorisationLinks.iter_links`.

    Cells that a spreadsheet would run as a formula are escaped. `delimiter`: of the job's file.
    """
    out = io.StringIO()
    out.write(BYTE_ORDER_MARK)
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    expires_at = f"{desk.expires_at:%Y-%m-%dT%H:%M:%SZ}"
    for number, (item, url) in enumerate(linked, start=1):
        cells = (item.account_id, item.name, item.connector_name, url, expires_at)
        writer.writerow([escape(cell) for cell in cells])
        if number % ROWS_AT_ONCE == 0:
            yield _emptied(out)
    yield _emptied(out)


def _emptied(out: io.StringIO) -> str:
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text
