import io
from pathlib import Path

import pytest

from tests.unit.intake.making import PATH, faults, reasons, source
from worker.intake import FileChanged, Unreadable, open_source, read_source


def lines(content):
    return [(line.number, line.cells) for line in source(content).lines()]


def test_reads_a_file_from_a_path(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("account_id\nacme\n")
    assert [line.cells for line in open_source(path).lines()] == [("acme",)]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("account_id\nzoë".encode(), "utf-8"),
        ("account_id\nzoë".encode("utf-8-sig"), "utf-8-sig"),
        ("account_id\nzoë".encode("utf-16"), "utf-16"),
        (b"\xfe\xff" + "account_id\nzoë".encode("utf-16-be"), "utf-16"),
        ("account_id\nzoë".encode("utf-16-le"), "utf-16-le"),
        ("account_id\nzoë".encode("utf-16-be"), "utf-16-be"),
    ],
)
def test_knows_unicode_with_and_without_a_mark(data, encoding):
    found = source(data)
    assert found.encoding == encoding
    assert found.columns == ("account_id",)
    assert [line.cells for line in found.lines()] == [("zoë",)]
    assert found.warnings == ()


def test_takes_other_bytes_for_windows_1252_and_says_so():
    found = source("account_id\nacme\nzoë €\n".encode("cp1252"))
    assert found.encoding == "cp1252"
    assert [line.cells for line in found.lines()] == [("acme",), ("zoë €",)]
    assert [str(warning) for warning in found.warnings] == [
        "the file is not UTF-8 (line 3), so it was read as Windows-1252: "
        "look at the names with accents ('zoë €'), or save it as 'CSV UTF-8'"
    ]


def test_three_names_show_whether_the_code_page_is_the_right_one_and_no_secret_is_among_them():
    text = (
        "account_id,account_name,api_key,note\n"
        "acme-1,Müller,schlüssel,grün\n"
        "acme-2,Müller,schlüssel,grün\n"
        "acme-3,Jürgens,schlüssel,grün,zu viel\n"
        'acme-4,"Kö\nln",schlüssel,grün\n'
        "acme-5,Lefèvre,schlüssel,grün\n"
        "acme-6,Peña,schlüssel,grün\n"
        "acme-7,Strauß,schlüssel,grün\n"
    )
    shown = "look at the names with accents ('Müller', 'Lefèvre', 'Peña'), or save it as 'CSV UTF-8'"
    (guess, _) = map(str, source(text.encode("cp1252")).warnings)
    assert guess.endswith(shown)


SPOILT = b"account_id,name,note\nacme,Zo\xc3\xab,\nbeta,M\xc3\xbcller,\ngamma,Pe\xc3\xb1a,\ndelta,Stra\xc3\x9fe,gr\xc3\xbcn\n"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_bad_byte_spoils_its_own_cell_and_not_the_letters_of_all_others(mark):
    found = source(mark + SPOILT + b"eps\xe9,Zo\xeb,x\n")
    assert found.form == {"Encoding": "UTF-8", "Delimiter": "comma"}
    assert found.warnings[0].column == "note"
    assert [(line.cells, line.spoilt) for line in found.lines()] == [
        (("acme", "Zoë", ""), ()),
        (("beta", "Müller", ""), ()),
        (("gamma", "Peña", ""), ()),
        (("delta", "Straße", "grün"), ()),
        (("eps\ufffd", "Zo\ufffd", "x"), (0, 1)),
    ]


def test_where_more_than_one_line_in_five_is_no_utf8_none_of_it_is():
    assert source(SPOILT + b"eps\xe9,,\nzeta\xe9,,\n").encoding == "cp1252"


BAD_BYTES = "expected UTF-8, as in nearly all of the file, got other bytes: type it again, and save the file as 'CSV UTF-8'"


def test_all_bad_bytes_of_a_file_are_problems_by_row_in_columns_that_are_not_used_too():
    good = b"".join(b"acme-%d,MailChimp,key,Zo\xc3\xab,\n" % number for number in range(8))
    bad = b"eps,MailChimp,key,Zo\xeb,gr\xfcn\nzeta\xe9,MailChimp,key,Zo\xc3\xab,\n"
    assert reasons(b"account_id,connector,api_key,name,note\n" + good + bad) == [
        f"row 10, column name: {BAD_BYTES}",
        f"row 10, column note: {BAD_BYTES}",
        f"row 11, column account_id: {BAD_BYTES}",
    ]


def test_a_bad_byte_in_a_column_name_is_a_problem_of_the_file():
    assert faults(SPOILT.replace(b"note", b"n\xf6te")) == [
        "a column name holds bytes that are not UTF-8, which most of the file is: type it again, and save the file as 'CSV UTF-8'"
    ]


def test_a_header_of_two_rows_as_merged_cells_make_it_is_told():
    assert faults("account_id,connector,credentials,\n,,username,password\nacme,Desk,joe,pw\n") == [
        "column names stand in row 2 too, below those of the header: write all of them into one row, without merged cells"
    ]


def test_judges_the_encoding_by_the_whole_file_and_not_by_its_beginning():
    found = source(b"account_id\n" + b"acme\n" * 100_000 + "zoë\n".encode("cp1252"))
    assert found.encoding == "cp1252"


def test_a_letter_cut_in_two_between_reads_is_still_utf8():
    assert source("account_id\n" + "ë\n" * 200_000).encoding == "utf-8"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_finds_the_delimiter(delimiter):
    text = delimiter.join(["Account ID", "Connector", "note"]) + "\n" + delimiter.join(["acme", "x", "y"])
    assert source(text).delimiter == delimiter


def test_a_file_of_one_column_has_no_letter_for_a_delimiter():
    found = source("account_id\nacme\nbeta\n")
    assert found.delimiter == ","
    assert [line.cells for line in found.lines()] == [("acme",), ("beta",)]


def test_commas_in_the_values_do_not_beat_the_header():
    found = source("account_id;name\nacme;a,b,c,d\nbeta;a,b,c,d\n")
    assert found.delimiter == ";"


def test_counts_rows_as_a_spreadsheet_does():
    text = 'account_id,description\r\nacme,"two\r\nlines"\r\n\r\n# a comment\r\n,\r\nbeta,one\r\n'
    assert lines(text) == [
        (2, ("acme", "two\r\nlines")),
        (3, ()),
        (4, ("# a comment",)),
        (5, ("", "")),
        (6, ("beta", "one")),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_takes_any_newline(newline):
    assert lines(newline.join(["account_id", "acme", "beta"])) == [(2, ("acme",)), (3, ("beta",))]


def test_lines_above_the_header_count():
    assert lines("\n# made by the CRM\naccount_id\nacme\n") == [(4, ("acme",))]


def test_trims_values_and_takes_blanks_before_a_quote():
    assert lines('account_id , name\n acme , "a, b"\n') == [(2, ("acme", "a, b"))]


def test_can_be_read_again():
    found = source("account_id\nacme\n")
    assert list(found.lines()) == list(found.lines())


def test_leaves_escapes_alone_in_a_file_that_is_no_result():
    assert lines("account_id,name\nacme,'=a\n") == [(2, ("acme", "'=a"))]


def test_undoes_escapes_in_a_result_file_in_the_header_too():
    found = source("account_id,'=x,_state\nacme,''=a,failed\n")
    assert found.columns == ("account_id", "=x", "_state")
    assert [line.cells for line in found.lines()] == [("acme", "'=a", "failed")]


def test_the_repr_of_a_line_shows_no_cell():
    assert repr(next(source("account_id,api_key\nacme,sesame").lines())) == "Line(number=2)"


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(Unreadable) as missing:
        open_source(Path("nowhere.csv"))
    assert str(missing.value) == "nowhere.csv: there is no such file"
    with pytest.raises(Unreadable) as folder:
        open_source(tmp_path)
    assert [str(problem) for problem in folder.value.problems] == ["expected a CSV file, got a folder"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty: expected a header line"),
        (b"\n  \n# nothing\n", "the file is empty: expected a header line"),
        (
            b"PK\x03\x04rest",
            "the workbook is damaged, or protected with a password (BadZipFile): save it again without one",
        ),
        (
            b"\xd0\xcf\x11\xe0rest",
            "expected a CSV file, got an old Excel workbook, or one with a password: export the sheet as CSV",
        ),
        (
            b"account_id\nac\x00me\n",
            "row 2: expected text, got a NUL character: export the sheet as CSV again",
        ),
        (b"account_id\n\x81\n", "expected text in UTF-8, got other bytes in line 2: save it as 'CSV UTF-8'"),
        (
            b"\xef\xbb\xbfaccount_id\n\xe9\n",
            "expected text in UTF-8, got other bytes in line 2: save it as 'CSV UTF-8'",
        ),
        (
            b'account_id\nacme\n"beta\n',
            "row 3: a quote is opened here and not closed before the end of the file",
        ),
        (
            b'account_id,name\nacme,"a"b\n',
            "row 2: expected a delimiter after a closing quote, got more text; "
            "a quote inside a quoted value is written twice",
        ),
        (
            b"account_id\n" + b"a" * 131_073 + b"\n",
            "row 2: expected cells of at most 131,072 characters, got a longer one; is a quote not closed?",
        ),
        (b"account_id" + b",x" * 500, "expected at most 500 columns, got 501"),
    ],
)
def test_says_what_is_wrong_with_a_whole_file(data, message):
    assert faults(data) == [message]


def test_a_line_or_a_record_without_an_end_is_refused_before_it_fills_the_memory():
    endless_line = faults("account_id\n" + "a,\t" * 1_000_000)
    assert endless_line == ["row 2: expected lines of less than 2,000,000 characters, got a longer one"]
    endless_record = faults("account_id\n" + ('"' + "a" * 100_000 + '\n",') * 60)
    assert endless_record == [
        "row 2: expected rows of at most 5,000,000 characters, got a longer one; is a quote not closed?"
    ]


def test_tells_all_faults_of_the_whole_file_at_once():
    assert faults('connector,connector,Api Key\n"x') == [
        "column account_id: expected this column, got connector, connector, Api Key",
        "column connector: expected it once, got it as 'connector' and as 'connector'",
        "row 2: a quote is opened here and not closed before the end of the file",
    ]


@pytest.mark.parametrize(
    "later",
    [
        b"account_id\nacme\nbeta\ngamma\n",
        b"account_id\nacme\n",
        b"",
        b"name\nacme\nbeta\n",
        b'account_id\nacme\n"',
    ],
)
def test_notices_that_the_file_changed(later):
    contents = [b"account_id\nacme\nbeta\n"] * 3 + [later]
    changing = read_source(PATH, lambda: io.BytesIO(contents.pop(0)))
    with pytest.raises(FileChanged):
        list(changing.lines())


def test_notices_that_the_file_is_gone(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("account_id\nacme\n")
    opened = open_source(path)
    path.unlink()
    with pytest.raises(FileChanged):
        list(opened.lines())
