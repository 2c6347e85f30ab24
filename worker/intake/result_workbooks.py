"""A result file as an Excel workbook: every cell is a text, so nothing is escaped. Streamed; the sheet's name says that it is ours."""

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, cast
from xml.sax.saxutils import escape

from worker.intake.columns import RESULT_COLUMNS, canonical
from worker.intake.workbooks import RESULT_SHEET
from worker.intake.writing import ResultRow

MOST_ROWS = 1_048_575  # below the header. Source: Microsoft, "Excel specifications and limits"
MOST_CHARACTERS = 32_767  # in a cell; the same page
_ROWS_OF_A_PIECE = 500
_DIALECT = "http://schemas.openxmlformats.org/"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = f"{_DIALECT}spreadsheetml/2006/main"
_RELATIONS = f"{_DIALECT}officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_DIALECT}package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_DIALECT}package/2006/relationships">'
    f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}">'
    f'<sheets><sheet name="{RESULT_SHEET}" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_DIALECT}package/2006/relationships">'
    f'<Relationship Id="rId1" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="rId2" Type="{_RELATIONS}/styles" Target="styles.xml"/></Relationships>',
    # Format 49 is Excel's "text": what is typed into a cell later stays what it is too.
    "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><fonts count="1"><font/></fonts>'
    '<fills count="1"><fill><patternFill patternType="none"/></fill></fills><borders count="1"><border/></borders>'
    '<cellStyleXfs count="1"><xf/></cellStyleXfs>'
    '<cellXfs count="2"><xf/><xf numFmtId="49" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>',
}


class NoRoom(OSError):
    """A sheet cannot hold it."""

    def __init__(self, what: str) -> None:
        super().__init__(None, f"a sheet has no room for {what}: name a file that ends in .csv")


class _Sink:
    """What a zip file is written to, as far as nobody has taken it yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def iter_result_workbook(columns: Sequence[str], rows: Iterable[ResultRow]) -> Iterator[bytes]:
    """The workbook in pieces. `columns`: as for `iter_result_lines`. Raises: NoRoom."""
    kept = [position for position, column in enumerate(columns) if canonical(column) not in RESULT_COLUMNS]
    sink = _Sink()
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w", zipfile.ZIP_DEFLATED) as parts:
        for name, content in _PARTS.items():
            parts.writestr(name, _HEAD + content)
        with parts.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            wide = f'<cols><col min="1" max="{len(kept) + len(RESULT_COLUMNS)}" width="16" style="1"/></cols>'
            sheet.write(f'{_HEAD}<worksheet xmlns="{_MAIN}">{wide}<sheetData>'.encode())
            sheet.write(_line([*(columns[position] for position in kept), *RESULT_COLUMNS]))
            for count, (cells, *results) in enumerate(rows, start=1):
                if count > MOST_ROWS:
                    raise NoRoom(f"more than {MOST_ROWS:,} rows")
                sheet.write(_line([*(cells[position] for position in kept), *results]))
                if count % _ROWS_OF_A_PIECE == 0:
                    yield sink.take()
            sheet.write(b"</sheetData></worksheet>")
    yield sink.take()


def _line(texts: Sequence[str]) -> bytes:
    return f"<row>{''.join(_cells(texts))}</row>".encode()


def _cells(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        if len(text) > MOST_CHARACTERS:
            raise NoRoom(f"a cell of more than {MOST_CHARACTERS:,} characters")
        shown = escape(_NO_XML.sub("\ufffd", text), {"\r": "&#13;"})
        yield (
            f'<c s="1" t="inlineStr"><is><t xml:space="preserve">{shown}</t></is></c>'
            if text
            else '<c s="1"/>'
        )
