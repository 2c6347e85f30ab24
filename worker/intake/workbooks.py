"""A workbook becomes records too: the texts of one sheet of an .xlsx or .ods file, as the sheet shows them.

A cell whose text in the sheet is another one than its value (a date, a number with separators) is `Doubted`: to take either
could be wrong. Nothing is ever written to a disk.
"""

import io
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

from worker.intake.columns import find_similar, is_known, mapped_column

MAX_PACKED_BYTES = 50 * 1024 * 1024
MAX_UNPACKED_BYTES = 500 * 1024 * 1024
MAX_TEXT_BYTES = (
    64 * 1024 * 1024
)  # of the texts that all sheets share: they are in memory while a sheet is read
MAX_CELLS = 5_000_000
_SEARCHED_RECORDS = 50
_DIGITS_KEPT = 15  # of a number; Excel and LibreOffice write zeros for the rest
_PLAIN_FORMATS = frozenset({"General", "@", "Standard", ""})
_ZEROS = re.compile(r"(0+)(?:\.(0+))?")
_SHOWN_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
ROW_AND_VALUES = Iterator[tuple[int, list[str]]]


class NoWorkbook(Exception):
    """It cannot be read as a workbook; the text says why, for people."""


class Doubted(str):
    """A cell whose value is perhaps not what its sheet shows. `reason`: in words, without the value."""

    reason: str

    def __new__(cls, text: str, reason: str) -> "Doubted":
        doubted = super().__new__(cls, text)
        doubted.reason = reason
        return doubted


@dataclass(frozen=True, slots=True)
class Workbook:
    """An opened workbook. `kind`: what people call it; `sheets`: the names of its sheets, in their order."""

    kind: str
    sheets: tuple[str, ...]
    packed: bytes

    def records(self, sheet: str) -> ROW_AND_VALUES:
        """The rows of a sheet with their numbers, from 1; those without any text are left out. Raises: NoWorkbook."""
        read = _xlsx_rows if self.kind == XLSX else _ods_rows
        cells = 0
        try:
            for number, values in read(self.packed, sheet):
                while values and not values[-1]:
                    values.pop()
                cells += len(values)
                if cells > MAX_CELLS:
                    raise NoWorkbook(f"expected at most {MAX_CELLS:,} cells, got more: save the sheet as CSV")
                if values:
                    yield number, values
        except _UNREADABLE as error:
            raise NoWorkbook(f"the workbook is damaged ({type(error).__name__}): save it again") from None

    def find_sheet(self, wanted: str | None, mapping: AbstractSet[str] = frozenset()) -> str:
        """The sheet of this name, or else the first with a known column name in its first rows, or one that `mapping` names, or else
        one that resembles it. Raises: NoWorkbook."""
        named = ", ".join(f"'{name}'" for name in self.sheets)
        if wanted is not None:
            found = [name for name in self.sheets if name.strip().casefold() == wanted.strip().casefold()]
            if not found:
                raise NoWorkbook(f"there is no sheet '{wanted}': it has {named}")
            return found[0]
        named_columns = {mapped_column(each).casefold() for each in mapping}
        knows: Sequence[Callable[[str], bool]] = (
            lambda value: is_known(value) or value.strip().casefold() in named_columns,
            lambda value: find_similar(value) is not None,
        )
        for known in knows:
            for name in self.sheets:
                for _, (_, values) in zip(range(_SEARCHED_RECORDS), self.records(name), strict=False):
                    if any(map(known, values)):
                        return name
        if len(self.sheets) == 1:
            return self.sheets[0]
        raise NoWorkbook(f"none of its sheets has a column called account_id: it has {named}")


RESULT_SHEET = "cyclr-bulk results"  # ours: a result file whose cells were never escaped
XLSX, ODS = "Excel workbook", "OpenDocument spreadsheet"
_UNREADABLE = (
    zipfile.BadZipFile,
    ElementTree.ParseError,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)


def open_workbook(packed: bytes) -> Workbook:
    """The workbook that these bytes are. Raises: NoWorkbook."""
    if len(packed) > MAX_PACKED_BYTES:
        raise NoWorkbook(_too_large("MB in the file", MAX_PACKED_BYTES))
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as parts:
            kind = _kind(parts)
            entries = parts.infolist()
            if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
                raise NoWorkbook(_too_large("MB unpacked", MAX_UNPACKED_BYTES))
            texts = (entry.file_size for entry in entries if entry.filename.endswith("sharedStrings.xml"))
            if max(texts, default=0) > MAX_TEXT_BYTES:
                raise NoWorkbook(_too_large("MB of different texts", MAX_TEXT_BYTES))
        sheets = _xlsx_sheets(packed) if kind == XLSX else tuple(_ods_sheets(packed))
    except _UNREADABLE as error:
        raise NoWorkbook(
            f"the workbook is damaged, or protected with a password ({type(error).__name__}): save it again without one"
        ) from None
    if not sheets:
        raise NoWorkbook("the workbook has no sheet with cells")
    return Workbook(kind, sheets, packed)


def _too_large(what: str, most: int) -> str:
    return f"expected a workbook of at most {most >> 20} {what}, got more: save the sheet as CSV"


def _kind(parts: zipfile.ZipFile) -> str:
    names = set(parts.namelist())
    if "xl/workbook.bin" in names:
        raise NoWorkbook("this is a binary Excel workbook (.xlsb): save it as .xlsx")
    if "[Content_Types].xml" in names and any(name.startswith("xl/") for name in names):
        return XLSX
    if (
        "mimetype" in names
        and parts.read("mimetype").strip() == b"application/vnd.oasis.opendocument.spreadsheet"
    ):
        return ODS
    raise NoWorkbook("expected a workbook (.xlsx, .ods) or a CSV file, got another kind of archive")


# Excel's.


def _load(packed: bytes) -> Any:
    from openpyxl import load_workbook  # a tenth of a second, which only workbooks shall cost

    # It tells of styles that are missing and the like, of which no text depends.
    warnings.filterwarnings("ignore", category=UserWarning, module="openpyxl")
    return load_workbook(io.BytesIO(packed), read_only=True, data_only=True, keep_links=False)


def _xlsx_sheets(packed: bytes) -> tuple[str, ...]:
    book = _load(packed)
    try:
        return tuple(sheet.title for sheet in book.worksheets)
    finally:
        book.close()


def _xlsx_rows(packed: bytes, sheet: str) -> ROW_AND_VALUES:
    book = _load(packed)
    try:
        page = book[sheet]
        page.reset_dimensions()  # what a program writes there may be wrong
        for number, cells in enumerate(page.iter_rows(), start=1):
            yield number, [_xlsx_text(cell) for cell in cells]
    finally:
        book.close()


def _xlsx_text(cell: Any) -> str:
    value = cell.value
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | float():
            return _number(value, _xlsx_shown(value, cell.number_format or ""))
        case datetime() | date() | time() | timedelta():
            return Doubted(str(value), _DATE)
    return Doubted(str(value), "the cell holds something that is neither text nor a number")


_DATE = "a date, which the sheet shows in its own way: format the column as text, then write the date as it is meant"


def _xlsx_shown(value: float, number_format: str) -> str | None:
    """What the sheet shows of a number; None where its format is one that we do not know."""
    if number_format in _PLAIN_FORMATS:
        return _digits(value)
    if zeros := _ZEROS.fullmatch(number_format):
        whole, decimals = zeros[1], zeros[2] or ""
        width = len(whole) + len(decimals) + (1 if decimals else 0) + (1 if value < 0 else 0)
        return f"{value:0{width}.{len(decimals)}f}"
    return None


def _digits(value: float) -> str:
    """The shortest digits that are this number: a spreadsheet keeps 15 of them, and what stands behind is its arithmetic's."""
    if isinstance(value, int) or value.is_integer():
        return str(int(value))
    return f"{Decimal(f'{value:.{_DIGITS_KEPT}g}'):f}"


def _number(value: float, shown: str | None) -> str:
    digits = _digits(value)
    if abs(value) >= 10**_DIGITS_KEPT:
        return Doubted(
            digits,
            f"a number of more than {_DIGITS_KEPT} digits, of which a spreadsheet keeps the first {_DIGITS_KEPT} only:"
            " format the column as text, then fill it in again",
        )
    if shown == digits:
        return digits
    if shown is not None and _SHOWN_NUMBER.fullmatch(shown) and float(shown) == value:
        return shown
    return Doubted(
        digits,
        "a number that the sheet shows in another way than it is stored: format the column as text, then fill it in as it is"
        " meant",
    )


# OpenDocument's. What a cell shows stands in it as text. Source: OpenDocument 1.3, part 3, section 9.

_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"


def _ods_events(packed: bytes) -> Iterator[tuple[str, ElementTree.Element]]:
    with (
        zipfile.ZipFile(io.BytesIO(packed)) as parts,
        parts.open("content.xml") as content,
    ):
        yield from ElementTree.iterparse(content, events=("start", "end"))  # noqa: S314 - expat expands no bombs


def _ods_sheets(packed: bytes) -> Iterator[str]:
    for event, element in _ods_events(packed):
        if event == "start" and element.tag == f"{_TABLE}table":
            yield element.get(f"{_TABLE}name", "")
        elif event == "end" and element.tag == f"{_TABLE}table-row":
            element.clear()


def _ods_rows(packed: bytes, sheet: str) -> ROW_AND_VALUES:
    is_ours = False
    number = 1
    table: ElementTree.Element | None = None
    for event, element in _ods_events(packed):
        if event == "start" and element.tag == f"{_TABLE}table":
            is_ours, table = element.get(f"{_TABLE}name") == sheet, element
        elif event == "end" and element.tag == f"{_TABLE}table" and is_ours:
            return
        elif event == "end" and element.tag == f"{_TABLE}table-row":
            repeated = int(element.get(f"{_TABLE}number-rows-repeated", "1"))
            values = _ods_values(element) if is_ours else []
            if any(values):
                for again in range(repeated):
                    yield number + again, list(values)
            number = number + repeated if is_ours else 1
            element.clear()
            if table is not None:
                table.clear()  # what was read of it is in memory no more


def _ods_values(row: ElementTree.Element) -> list[str]:
    values: list[str] = []
    empty = 0  # thousands of them may end a row
    for cell in row:
        if cell.tag not in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
            continue
        repeated = int(cell.get(f"{_TABLE}number-columns-repeated", "1"))
        text = _ods_text(cell) if cell.tag == f"{_TABLE}table-cell" else ""
        if not text:
            empty += repeated
            continue
        if len(values) + empty + repeated > MAX_CELLS:
            raise NoWorkbook(f"expected at most {MAX_CELLS:,} cells, got more: save the sheet as CSV")
        values += [""] * empty + [text] * repeated
        empty = 0
    return values


def _ods_text(cell: ElementTree.Element) -> str:
    shown = "\n".join(_paragraph(each) for each in cell if each.tag == f"{_TEXT}p")
    kind = cell.get(f"{_OFFICE}value-type")
    if kind in (None, "string"):
        return shown
    if kind == "boolean":
        return "TRUE" if cell.get(f"{_OFFICE}boolean-value") == "true" else "FALSE"
    if kind == "float":
        value = float(cell.get(f"{_OFFICE}value", ""))
        if shown == ("TRUE" if value == 1 else "FALSE"):  # as LibreOffice keeps them
            return shown
        # Where a comma is the decimal point: the same digits, and no more.
        is_plain = shown.replace(",", ".") == _digits(value)
        return _number(value, _digits(value) if is_plain else shown)
    if kind in ("date", "time"):
        return Doubted(shown, _DATE)
    return Doubted(shown, "a number that the sheet shows as an amount or a share: format the column as text")


def _paragraph(element: ElementTree.Element) -> str:
    parts = [element.text or ""]
    for each in element:
        if each.tag == f"{_TEXT}s":
            parts.append(" " * int(each.get(f"{_TEXT}c", "1")))
        elif each.tag == f"{_TEXT}tab":
            parts.append("\t")
        elif each.tag == f"{_TEXT}line-break":
            parts.append("\n")
        else:
            parts.append(_paragraph(each))
        parts.append(each.tail or "")
    return "".join(parts)
