"""The body of `POST /v1/jobs` as JSON, read item by item: never whole as objects, and no further than its thousandth fault.

What a body of 20 MB is made of may take a hundred times its size in memory, and minutes to be judged. So it stays bytes, of
which a piece is text at a time, and each item is gone when it has been read. It is read twice: once to see what is wrong
with it and which columns it has, once to be written down.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from worker.intake.columns import OWN_PREFIX, find_similar, is_known, is_own
from worker.jobs.views import Fault
from worker.web.faults import FIRST_ROW, MOST_SHOWN, SHOWN_FAULTS, UNKNOWN, known_name, to_fault
from worker.web.http_errors import HttpError
from worker.web.json_bodies import TWICE
from worker.web.json_reader import LONGEST_KEY, Enough, JsonObject, ListItem, ListReader

MOST_COLUMNS = 500
FIRST_COLUMN = "account_id"


class JobBody:
    """A body in pieces of bytes. `faults_of`: what is wrong with its options.

    `options`: as they stand there, after `check`.
    """

    def __init__(
        self, pieces: Sequence[bytes | bytearray], faults_of: Callable[[Any], Sequence[Fault]]
    ) -> None:
        self._pieces = pieces
        self._faults_of = faults_of
        self.options: Any = {}
        self._columns = {FIRST_COLUMN: None}
        self._twice: list[Fault] = []
        self._wrong: list[Fault] = []
        self._left_out: list[Fault] = []
        self._unknown: dict[
            str, list[int] | None
        ] = {}  # per key: None for a column, else its first row, how often, and its place in that row

    def check(self) -> None:
        """Reads all of it. Takes long: not for the event loop. Raises: HttpError (422) that tells the first 1,000 faults."""
        has_ended = True
        try:
            for item in ListReader(self._pieces, self._note).items(self._take_options):
                self._check_item(item)
        except Enough:
            has_ended = False
        self._require_right(has_ended=has_ended)

    def lines(self) -> Iterator[bytes]:
        """The items as the lines of a CSV; after `check`."""
        columns = list(self._columns)
        line = io.StringIO(newline="")
        writer = csv.writer(line, quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        for item in ListReader(self._pieces, self._note).items(lambda _: None):
            writer.writerow([item.values.get(name) or "" for name in columns])
            yield line.getvalue().encode()
            line.seek(0)
            line.truncate()

    def _take_options(self, value: Any) -> None:
        self.options = value
        self._wrong += self._faults_of(value)

    def _note(self, fault: Fault) -> None:
        (self._twice if fault.message == TWICE else self._wrong).append(fault)
        self._stop_where_enough()

    def _stop_where_enough(self) -> None:
        unknown = sum(found is not None for found in self._unknown.values())
        found = len(self._twice) + len(self._wrong) + len(self._left_out) + unknown
        if found >= SHOWN_FAULTS or len(self._columns) > MOST_COLUMNS:
            raise Enough

    def _check_item(self, item: ListItem) -> None:
        for key in item.is_twice:
            self._note(Fault(row=item.row, column=known_name(key), message=TWICE))
        for number, (key, value) in enumerate(item.values.items(), start=1):
            if key not in self._columns:
                self._meet(key, item.row, number)
            if (found := self._unknown.get(key)) is not None:
                found[1] += 1
            if type(value) is str:
                if not value.isascii() and _is_half(value):
                    self._note_value(item.row, key, "string_unicode", value)
            elif value is not None:
                self._note_value(item.row, key, "string_type", value)
        if (fault := _left_out(item)) is not None:
            self._left_out.append(fault)
            self._stop_where_enough()

    def _meet(self, key: str, row: int, number: int) -> None:
        """A key that no item had before. `number`: its place in this one."""
        if len(key) > LONGEST_KEY:
            self._note_value(row, key, "string_too_long", key, max_length=LONGEST_KEY)
            return
        if not key.isascii() and _is_half(key):
            self._note_value(row, key.encode(errors="replace").decode(), "string_unicode", key)
            return
        self._columns[key] = None
        self._unknown[key] = None if is_known(key) or is_own(key) else [row, 0, number]
        self._stop_where_enough()

    def _note_value(self, row: int, key: str, kind: str, value: Any, **told: Any) -> None:
        where = ("items", row - FIRST_ROW, key[:MOST_SHOWN])
        got = {} if isinstance(value, JsonObject) else value
        self._note(to_fault({"type": kind, "loc": where, "input": got, "ctx": told, "msg": ""}))

    def _require_right(self, *, has_ended: bool) -> None:
        ended = "" if has_ended else " It was not read any further."
        if self._twice:
            detail = "An object of the JSON has a key twice, so that nobody can tell which value is meant."
            raise _error_of("invalid_request", detail + ended, self._twice)
        unknown = list(_unknown_faults(self._unknown))
        if self._wrong:
            detail = "The request is not as expected."
            raise _error_of("invalid_request", detail + ended, [*self._wrong, *unknown])
        if len(self._columns) > MOST_COLUMNS:
            detail = f"Expected at most {MOST_COLUMNS} different columns, got more."
            raise HttpError(422, "invalid_request", detail)
        if unknown or self._left_out:
            # A file leaves out empty lines and comments; of a list nothing may go missing.
            what = "cannot be rows" if self._left_out else "have keys that nobody knows"
            detail = f"Some items {what}. Nothing was created."
            raise _error_of("problems_in_file", detail + ended, [*unknown, *self._left_out])
        # Whatever ended it, a part is never taken for the whole.
        if not has_ended:
            raise HttpError(422, "invalid_request", f"The request is not as expected.{ended}")


def _error_of(code: str, detail: str, faults: Sequence[Fault]) -> HttpError:
    count = sum(fault.count or 1 for fault in faults)
    return HttpError(422, code, detail, errors=faults[:SHOWN_FAULTS], error_count=count)


def _is_half(text: str) -> bool:
    """Whether it has one half of a character that UTF-16 writes as two."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _left_out(item: ListItem) -> Fault | None:
    """Why a file would leave this row out."""
    texts = [value for value in item.values.values() if value is not None]
    if not any(not isinstance(text, str) or text.strip() for text in texts):
        return Fault(row=item.row, message="expected an item with values, got an empty one")
    account_id = item.values.get(FIRST_COLUMN)
    if isinstance(account_id, str) and account_id.lstrip().startswith("#"):
        message = "expected an account id, got one that begins with #"
        return Fault(row=item.row, column=FIRST_COLUMN, message=message)
    return None


def _unknown_faults(judged: dict[str, list[int] | None]) -> Iterator[Fault]:
    """Each key that is no column, told once with its first row, and how many items have it.

    In a file such a column is ignored, with a warning; whoever writes JSON is a program, and its misspelt `api_kee` is the
    credential of every row.
    """
    for key, found in judged.items():
        if found is not None:
            row, count, number = found
            named = known_name(key)
            column = f"column {number}" if named == UNKNOWN else named
            similar = find_similar(key)
            meant = f"did you mean {similar}?" if similar else "is it misspelt?"
            message = f"unknown: {meant} A key of your own begins with {OWN_PREFIX}"
            yield Fault(row=row, column=column, message=message, count=count if count > 1 else None)
