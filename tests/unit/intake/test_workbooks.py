"""Workbooks are files of rows: a cell is what its sheet shows where that loses nothing, and else a problem."""

import datetime
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from worker.domain.options import RunOptions
from worker.domain.rows import RefusedRow, Row
from worker.intake import FileChanged, Unreadable, open_source, read_source, survey
from worker.intake.plain import RowReader

SAVED = Path(__file__).parent / "workbooks"
NOT_AS_STORED = "a number that the sheet shows in another way than it is stored: format the column as text, then fill it in as it is meant"
TOO_LONG = (
    "a number of more than 15 digits, of which a spreadsheet keeps the first 15 only: format the column as text, then fill it in"
    " again"
)
DATE = "a date, which the sheet shows in its own way: format the column as text, then write the date as it is meant"
HEADER = ["account_id", "connector", "api_key"]


def saved(
    tmp_path: Path, *sheets: tuple[str, list[list[Any]]], formats: dict[str, str] | None = None
) -> Path:
    """A workbook of these sheets; `formats`: of cells of the last one."""
    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets:
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    for cell, number_format in (formats or {}).items():
        sheet[cell].number_format = number_format
    path = tmp_path / "accounts.xlsx"
    book.save(path)
    return path


def cells_of(path: Path) -> list[tuple[str, ...]]:
    return [line.cells for line in open_source(path).lines()]


def doubts_of(path: Path) -> list[dict[int, str]]:
    return [dict(line.doubts) for line in open_source(path).lines()]


@pytest.mark.parametrize("kind", ["ods", "xlsx"])
def test_a_file_saved_by_a_spreadsheet_program_is_read_as_it_is_shown(kind: str) -> None:
    path = SAVED / f"saved_by_libreoffice.{kind}"
    source = open_source(path)
    assert source.sheet == "Accounts"
    assert source.columns == (
        "account_id",
        "connector",
        "api_key",
        "property.Region",
        "property.Rate",
        "x_due",
    )
    lines = list(source.lines())
    assert [line.number for line in lines] == [2, 3, 4, 5, 6]
    assert lines[0].cells[:5] == ("00123", "Desk", "k1", "eu", "1.10")
    assert lines[3].cells[:4] == ("acme-1", "Desk", "12345", "eu")
    assert lines[4].cells == ("acme-2", "Desk", "k4", "eu\nus", "3")
    assert dict(lines[1].doubts) == {4: NOT_AS_STORED}
    assert dict(lines[2].doubts) == {0: TOO_LONG}
    assert lines[2].cells[3] == "TRUE"
    assert dict(lines[0].doubts) == {5: DATE}
    assert list(dict(lines[3].doubts)) == [4]


@pytest.mark.parametrize(
    ("value", "number_format", "expected"),
    [
        (123, "General", "123"),
        (123.0, "General", "123"),
        (1.5, "General", "1.5"),
        (0.1 + 0.2, "General", "0.3"),
        (0.00000012, "General", "0.00000012"),
        (123, "00000", "00123"),
        (-7, "000", "-007"),
        (1.1, "0.00", "1.10"),
        (3, "@", "3"),
        ("00123", "General", "00123"),
        (True, "General", "TRUE"),
        (999_999_999_999_999, "General", "999999999999999"),
    ],
)
def test_a_number_is_what_the_sheet_shows(
    tmp_path: Path, value: Any, number_format: str, expected: str
) -> None:
    path = saved(tmp_path, ("A", [HEADER, [value, "Desk", "k"]]), formats={"A2": number_format})
    assert cells_of(path) == [(expected, "Desk", "k")]
    assert doubts_of(path) == [{}]


@pytest.mark.parametrize(
    ("value", "number_format", "reason"),
    [
        (1234.5, "#,##0.00", NOT_AS_STORED),
        (1.26, "0.0", NOT_AS_STORED),
        (0.5, "0%", NOT_AS_STORED),
        (5, '"acme-"0', NOT_AS_STORED),
        (1_000_000_000_000_000, "General", TOO_LONG),
        (1_000_000_000_000_000, "0", TOO_LONG),
        (datetime.datetime(2026, 12, 1, tzinfo=None), "yyyy-mm-dd", DATE),  # noqa: DTZ001 - as a sheet has it
    ],
)
def test_what_the_sheet_shows_otherwise_is_a_problem_of_its_row(
    tmp_path: Path, value: Any, number_format: str, reason: str
) -> None:
    path = saved(tmp_path, ("A", [HEADER, ["a", "Desk", value]]), formats={"C2": number_format})
    source = open_source(path)
    rows = [RowReader(source.header, RunOptions()).read(line) for line in source.lines()]
    assert isinstance(rows[0], RefusedRow)
    assert [str(problem) for problem in rows[0].problems] == [f"row 2, column api_key: {reason}"]
    assert str(value) not in str(rows[0].cells)


def test_rows_without_doubts_are_rows(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, ("A", [HEADER, ["a", "Desk", "k"], [None], ["b", "Desk", "l"]])))
    rows = [RowReader(source.header, RunOptions()).read(line) for line in source.lines()]
    assert [(row.number, row.account_id) for row in rows if isinstance(row, Row)] == [(2, "a"), (4, "b")]
    assert survey(source, RunOptions()).rows == 2


def test_quotes_and_delimiters_in_cells_are_text(tmp_path: Path) -> None:
    path = saved(tmp_path, ("A", [HEADER, ['a "b"', "Desk", 'k",;\n"l'], ["c", "Desk"]]))
    assert cells_of(path) == [('a "b"', "Desk", 'k",;\n"l'), ("c", "Desk")]
    assert survey(open_source(path), RunOptions()).refused == 0


def test_the_sheet_is_the_first_with_a_known_column(tmp_path: Path) -> None:
    path = saved(tmp_path, ("Notes", [["what this is"]]), ("Rows", [HEADER, ["a", "Desk", "k"]]))
    source = open_source(path)
    assert source.sheet == "Rows"
    assert [str(warning) for warning in source.warnings] == [
        "the rows are those of the sheet 'Rows'; the workbook has 2 sheets (Notes, Rows)"
    ]


def test_a_sheet_may_be_named(tmp_path: Path) -> None:
    path = saved(tmp_path, ("Old", [HEADER, ["a", "Desk", "k"]]), ("New", [HEADER, ["b", "Desk", "k"]]))
    assert [line.cells[0] for line in read_source(path, lambda: path.open("rb"), " new").lines()] == ["b"]
    with pytest.raises(Unreadable, match="there is no sheet 'Newer': it has 'Old', 'New'"):
        read_source(path, lambda: path.open("rb"), "Newer")


def test_the_rows_of_two_sheets_are_different_contents_and_those_of_one_are_the_same_however_it_was_named(
    tmp_path: Path,
) -> None:
    path = saved(tmp_path, ("One", [HEADER, ["acme", "Mail", "k"]]), ("Two", [HEADER, ["acme", "Mail", "k"]]))
    one, two = open_source(path, "One"), open_source(path, "two")
    assert one.content_hash != two.content_hash
    assert open_source(path).content_hash == one.content_hash
    assert (one.sheet, two.sheet, two.sheets) == ("One", "Two", ("One", "Two"))
    assert len(open_source(path).warnings) == 1
    assert one.warnings == ()  # it was named, so there is nothing to wonder about


def test_a_sheet_of_what_is_no_workbook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "accounts.csv"
    path.write_text("account_id\nacme\n")
    with pytest.raises(Unreadable, match="this is no workbook, so there is no sheet 'One': name none"):
        open_source(path, "One")


def test_titles_above_the_header_are_said(tmp_path: Path) -> None:
    path = saved(tmp_path, ("A", [["Customers of 2026"], [None], HEADER, ["a", "Desk", "k"]]))
    with pytest.raises(Unreadable, match="the column names stand in row 3: delete the rows above it"):
        open_source(path)


def archive(**members: bytes) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as parts:
        for name, content in members.items():
            parts.writestr(name.replace("__", "/"), content)
    return kept.getvalue()


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (
            lambda: archive(readme=b"hello"),
            "expected a workbook (.xlsx, .ods) or a CSV file, got another kind of archive",
        ),
        (
            lambda: archive(**{"xl/workbook.bin": b""}),
            "this is a binary Excel workbook (.xlsb): save it as .xlsx",
        ),
        (
            lambda: b"PK\x03\x04" + bytes(1000),
            "the workbook is damaged, or protected with a password (BadZipFile)",
        ),
        (
            lambda: archive(
                mimetype=b"application/vnd.oasis.opendocument.spreadsheet", **{"content.xml": b"\x00\x01"}
            ),
            "the workbook is damaged, or protected with a password (ParseError)",
        ),
        (
            lambda: archive(**{"[Content_Types].xml": b"", "xl/a.xml": bytes(501 << 20)}),
            "expected a workbook of at most 500 MB unpacked, got more: save the sheet as CSV",
        ),
        (
            lambda: archive(**{"[Content_Types].xml": b"", "xl/sharedStrings.xml": bytes(65 << 20)}),
            "expected a workbook of at most 64 MB of different texts, got more: save the sheet as CSV",
        ),
        (
            lambda: b"PK\x03\x04" + bytes(50 << 20),
            "expected a workbook of at most 50 MB in the file, got more: save the sheet as CSV",
        ),
        (lambda: b"\xd0\xcf\x11\xe0" + bytes(100), "got an old Excel workbook, or one with a password"),
    ],
)
def test_what_is_no_workbook_is_said_in_words(packed: Callable[[], bytes], reason: str) -> None:
    content = packed()
    with pytest.raises(Unreadable) as refused:
        read_source(Path("a.xlsx"), lambda: io.BytesIO(content))
    assert reason in str(refused.value)


def test_entities_are_not_expanded() -> None:
    bomb = (
        b'<!DOCTYPE a [<!ENTITY a "'
        + b"a" * 1000
        + b'">'
        + b"".join(
            b'<!ENTITY a%d "%s">' % (level, b"&a%d;" % (level - 1) * 100 if level > 1 else b"&a;" * 100)
            for level in range(1, 8)
        )
        + b"]><a>&a7;</a>"
    )
    packed = archive(mimetype=b"application/vnd.oasis.opendocument.spreadsheet", **{"content.xml": bomb})
    with pytest.raises(Unreadable, match="the workbook is damaged"):
        read_source(Path("a.ods"), lambda: io.BytesIO(packed))


def test_a_workbook_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = saved(tmp_path, ("A", [HEADER, ["a", "Desk", "k"]]))
    source = open_source(path)
    saved(tmp_path, ("A", [HEADER, ["b", "Desk", "k"]]))
    with pytest.raises(FileChanged):
        list(source.lines())


def test_what_is_missing_of_its_styles_is_nobodys_trouble(tmp_path: Path) -> None:
    path = saved(tmp_path, ("A", [HEADER, ["a", "Desk", "k"]]))
    kept = io.BytesIO()
    with zipfile.ZipFile(path) as parts, zipfile.ZipFile(kept, "w") as anew:
        for name in parts.namelist():
            content = parts.read(name)
            if name == "xl/styles.xml":
                content = re.sub(rb"<cellStyles.*?</cellStyles>", b"", content)
            anew.writestr(name, content)
    source = read_source(path, lambda: io.BytesIO(kept.getvalue()))
    assert [line.cells for line in source.lines()] == [("a", "Desk", "k")]
