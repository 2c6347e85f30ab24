"""Column names of other languages are shown and suggested; what a column is, a person says."""

import io
from pathlib import Path

import pytest
from openpyxl import Workbook

from tests.unit.intake.making import PATH
from worker.domain.rows import NOT_EXPORTED, Way
from worker.intake import Source, Unreadable, open_source, read_source
from worker.intake.columns import find_similar

GERMAN = "Kontonummer;Konnektor;API-Schlüssel;Notiz\nacme;Desk;key-1;x\nbeta;Desk;key-2;y\n"
ALL_OF_IT = frozenset({"Kontonummer=account_id", "konnektor = connector", "API-Schlüssel=api_key"})


def mapped(text: str, *mapping: str) -> Source:
    return read_source(PATH, lambda: io.BytesIO(text.encode()), None, frozenset(mapping))


def refused(text: str, *mapping: str) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        mapped(text, *mapping)
    return caught.value


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Kundennummer", "account_id"),
        ("Numéro de compte", "account_id"),
        ("Número de cuenta", "account_id"),
        ("Connecteur", "connector"),
        ("Conector", "connector"),
        ("Mot de passe", "password"),
        ("Contraseña", "password"),
        ("API_SCHLUESSEL", "api_key"),
        ("Clé d'API", "api_key"),
        ("Clave API", "api_key"),
        ("Zeitzone", "account_timezone"),
        ("Farbe", None),
    ],
)
def test_words_for_the_columns_are_known_in_three_languages(typed: str, meant: str | None) -> None:
    assert find_similar(typed) == meant


def test_what_was_read_is_shown_with_what_may_be_meant() -> None:
    error = refused(GERMAN)
    assert [(problem.reason, problem.way) for problem in error.problems] == [
        (
            "expected this column, got Kontonummer, Konnektor, API-Schlüssel, Notiz; perhaps 'Kontonummer' is account_id,"
            " 'Konnektor' is connector, 'API-Schlüssel' is api_key",
            Way.COLUMNS,
        )
    ]


def test_a_suggestion_is_never_taken_by_itself() -> None:
    source = mapped("account_id;Konnektor\nacme;Desk\n")
    assert source.header.names == ("account_id", None)
    assert [str(warning) for warning in source.warnings] == [
        "column Konnektor: unknown, it is ignored; did you mean connector?"
    ]


def test_a_person_says_what_columns_are() -> None:
    source = mapped(GERMAN, *ALL_OF_IT)
    assert source.columns == ("Kontonummer", "Konnektor", "API-Schlüssel", "Notiz")
    assert source.header.names == ("account_id", "connector", "api_key", None)
    assert source.header.label("api_key") == "API-Schlüssel"
    assert source.header.mask(("acme", "Desk", "key-1", "x")) == ("acme", "Desk", NOT_EXPORTED, "x")
    assert [line.cells for line in source.lines()] == [
        ("acme", "Desk", "key-1", "x"),
        ("beta", "Desk", "key-2", "y"),
    ]


def test_a_known_column_may_be_another_one_or_none() -> None:
    text = "account_id,Name,description\nacme,Acme Ltd,d\n"
    source = mapped(text, "Name=account_name", "description=")
    assert source.header.names == ("account_id", "account_name", None)


def test_the_columns_of_the_result_are_an_input_by_themselves() -> None:
    assert mapped(GERMAN, *ALL_OF_IT).header.result_columns == ("account_id", "connector", "api_key", "Notiz")
    text = "account_id,Name\nacme,Acme Ltd\n"
    assert mapped(text, "Name=").header.result_columns == ("account_id", "x_Name")
    assert mapped(text).header.result_columns == ("account_id", "Name")


def test_what_columns_are_makes_the_content_and_not_how_it_was_written() -> None:
    source = mapped(GERMAN, *ALL_OF_IT)
    assert source.content_hash != source.bytes_hash
    again = mapped(GERMAN, "KONTONUMMER=Account ID", "Konnektor=connector", "API-Schlüssel=api-key")
    assert again.content_hash == source.content_hash
    other = mapped(GERMAN, "Kontonummer=account_id", "Konnektor=connector", "API-Schlüssel=password")
    assert other.content_hash != source.content_hash


def test_what_is_said_of_columns_that_are_not_there_or_do_not_exist_is_a_problem() -> None:
    error = refused("account_id,Notiz\nacme,x\n", "Konto=account_id", "Notiz=refrence", "account_id=_state")
    assert [str(problem) for problem in error.problems] == [
        "there is no column 'Konto', which was to be taken as another one",
        "expected a column of the product behind 'Notiz=', got another name; did you mean reference?",
        "expected a column of the product behind 'account_id=', got another name",
    ]


def test_two_columns_are_not_the_same_one() -> None:
    error = refused(GERMAN, "Kontonummer=account_id", "Notiz=account_id")
    assert [str(problem) for problem in error.problems] == [
        "column account_id: expected it once, got it as 'Kontonummer' and as 'Notiz'"
    ]


def test_three_rows_are_shown_of_a_file_whose_columns_are_not_known_and_nothing_that_may_be_a_secret() -> (
    None
):
    rows = "".join(f"acme-{number};k;Zx81kQ00abcd9;blue sky;Zx81kQ00abcd9\n" for number in range(9))
    preview = refused(f"Konto;Passwort;Farbe;Notiz;key-77-5f1c\n{rows}").preview
    assert preview is not None
    assert preview.columns == ("Konto", "Passwort", "Farbe", "Notiz", None)
    assert preview.rows == tuple(
        (row, (f"acme-{row - 2}", None, None, "blue sky", None)) for row in (2, 3, 4)
    )


def test_the_sheet_is_found_by_what_was_said_of_its_columns_or_by_words_for_them(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["what this is"])
    book.create_sheet("Kunden").append(["Kontonummer", "Farbe"])
    book["Kunden"].append(["acme", "blau"])
    path = tmp_path / "kunden.xlsx"
    book.save(path)
    assert open_source(path, None, frozenset({"Kontonummer=account_id"})).sheet == "Kunden"
    with pytest.raises(Unreadable, match="perhaps 'Kontonummer' is account_id"):
        open_source(path)
