"""A result file as a workbook has texts only, as they were, and is an input again."""

import io
import itertools
from pathlib import Path

import openpyxl
import pytest

from worker.intake import ResultRow, open_source, read_source, result_workbooks
from worker.intake.result_workbooks import NoRoom, iter_result_workbook

COLUMNS = ["account_id", "connector", "reference", "_state", "note"]
TEXTS = ("00123", "Mail", "=1+1", "old", '\'=a <b> & "c"\r\nZoë \U0001f600')


def written(*cells: tuple[str, ...]) -> bytes:
    rows = [
        ResultRow(each, "261201-abcdef", str(number), "failed") for number, each in enumerate(cells, start=2)
    ]
    return b"".join(iter_result_workbook(COLUMNS, rows))


def test_every_cell_is_a_text_as_it_was() -> None:
    book = openpyxl.load_workbook(io.BytesIO(written(TEXTS)))
    assert book.sheetnames == ["cyclr-bulk results"]
    header, row = book.active.iter_rows()
    assert [cell.value for cell in header][:7] == [
        *("account_id", "connector", "reference", "note"),
        *("_job", "_row", "_state"),
    ]
    assert [cell.value for cell in row][:7] == [
        *("00123", "Mail", "=1+1", TEXTS[4]),
        *("261201-abcdef", "2", "failed"),
    ]
    assert {cell.number_format for cell in row} == {"@"}
    assert "f" not in {cell.data_type for cell in row}


def test_it_is_an_input_whose_cells_are_not_unescaped() -> None:
    data = written(TEXTS)
    source = read_source(Path("a.xlsx"), lambda: io.BytesIO(data))
    assert source.header.is_result
    (line,) = source.lines()
    assert line.cells[:4] == ("00123", "Mail", "=1+1", TEXTS[4])


def test_a_result_that_a_person_saved_as_a_workbook_was_escaped_before(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["account_id", "note", "_state"])
    book.active.append(["acme", "'=1+1", "failed"])
    book.save(tmp_path / "a.xlsx")
    (line,) = open_source(tmp_path / "a.xlsx").lines()
    assert line.cells == ("acme", "=1+1", "failed")


def test_what_has_no_room_in_a_sheet_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        NoRoom, match=r"no room for a cell of more than 32,767 characters: name a file that ends in \.csv"
    ):
        written(("a" * 32_768, "", "", "", ""))
    monkeypatch.setattr(result_workbooks, "MOST_ROWS", 3)
    written(*itertools.repeat(TEXTS, 3))
    with pytest.raises(NoRoom, match=r"no room for more than 3 rows"):
        written(*itertools.repeat(TEXTS, 4))
