"""Rows that a stray quote has swallowed are found, and what looks like them in a right file is not."""

import csv
import io
import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.intake.making import CATALOGUE, OPTIONS, Remembered, faults, source
from worker.domain.options import RunOptions
from worker.domain.rows import PlannedRow, RefusedRow
from worker.intake import AskedAccounts, Findings, iter_plan, survey

HEADER = "account_id,connector,api_key,description\n"


def outcomes(content, *, options=OPTIONS, asked=None):
    opened = source(content)
    found = survey(opened, options)
    findings = Findings()
    rows = list(
        iter_plan(
            opened,
            options,
            instance_id="i1",
            survey=found,
            catalogue=CATALOGUE,
            accounts=AskedAccounts() if asked is None else asked,
            memory=Remembered(),
            findings=findings,
        )
    )
    return rows, [str(problem) for problem in findings.problems]


def problems(content, **how):
    return outcomes(content, **how)[1]


SWALLOWED = (
    "row 2, column description: rows 2 to 4 of the file stand in this cell, since a quote opens in it and closes 2 lines "
    "below: write a quote that belongs to a text twice, in a text in quotes, or take it away; if all of it is one text, write "
    "it without line breaks"
)


def test_rows_between_two_stray_quotes_are_named_and_no_key_of_theirs_is_shown():
    text = (
        HEADER
        + 'acme,MailChimp,k1,"5 inch\nbeta,MailChimp,k2,x\ngamma,MailChimp,k3,7"\ndelta,MailChimp,k4,y\n'
    )
    (refused, planned), said = outcomes(text)
    assert said == [SWALLOWED]
    assert refused.cells == ("acme", "MailChimp", "[not exported]", "[not exported]")
    assert isinstance(planned, PlannedRow)


def test_a_connector_of_the_file_tells_where_account_and_credential_do_not():
    text = HEADER + 'acme-1,Books,,"5 inch\nZeta,Books,,7"\nbeta-2,MailChimp,k2,x\n'
    assert [reason.partition(" of the file")[0] for reason in problems(text)] == [
        "row 2, column description: rows 2 to 3"
    ]


def test_it_is_found_in_an_unknown_column_and_in_front_of_the_others():
    text = (
        "note,account_id,connector,api_key\n"
        + '"5 inch,acme,MailChimp,k1\n7",beta,MailChimp,k2\nz,c,MailChimp,k3\n'
    )
    (refused, _), said = outcomes(text)
    assert [reason.partition(" of the file")[0] for reason in said] == ["row 2, column note: rows 2 to 3"]
    assert refused.cells == ("[not exported]",) * 4


def test_a_credential_of_another_row_is_never_taken_for_this_ones():
    text = (
        "account_id,description,connector,api_key\n"
        + 'acme,"5 inch,MailChimp,k1\nbeta,7",MailChimp,k2\nc,,MailChimp,k3\n'
    )
    (refused, _), said = outcomes(text)
    assert isinstance(refused, RefusedRow)
    assert len(said) == 1


def test_a_quote_that_opens_in_an_empty_cell_swallows_too():
    text = HEADER + 'acme,MailChimp,k1,"\nbeta,MailChimp,k2,7"\nc,MailChimp,k3,\n'
    assert [reason.partition(" of the file")[0] for reason in problems(text)] == [
        "row 2, column description: rows 2 to 3"
    ]


def test_a_comment_swallows_nothing():
    text = HEADER + '# 5,,,"inch\nbeta,MailChimp,k2,7"\nc,MailChimp,k3,\n'
    (refused, _), _ = outcomes(text)
    assert isinstance(refused, RefusedRow)
    assert "k2" not in str(refused.cells)


def test_a_name_in_the_header_swallows_nothing():
    text = 'account_id,connector,api_key,"note\nacme,MailChimp,k1,x\nbeta,MailChimp,k2,7"\nc,MailChimp,k3,\n'
    assert faults(text) == [
        "row 1: the name of column 4 holds lines of the file: is a quote in the header not closed?"
    ]


@pytest.mark.parametrize(
    ("account", "asked"),
    [("zeta-9", AskedAccounts()), ("Zeta", AskedAccounts(mentioned={"Zeta"}))],
    ids=["of this file's kind", "of Cyclr's"],
)
def test_with_one_connector_for_all_rows_the_account_tells(account, asked):
    text = f'account_id,api_key,description\nacme-1,k1,"5 inch\n{account},k2,7"\nbeta-2,k3,y\n'
    options = RunOptions(connector="MailChimp")
    assert len(problems(text, options=options, asked=asked)) == 1
    elsewhere = f'account_id,api_key,description\nacme-1,k1,"5 inch\n{account} k2 7"\nbeta-2,k3,y\n'
    assert problems(elsewhere, options=options, asked=asked) == []


ADDRESS = "Acme Ltd\n12, High Street\nLeeds, West Yorkshire, LS1 4AB, UK"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END PRIVATE KEY-----\n"
KEY = json.dumps({"type": "service_account", "ids": ["acme", "MailChimp", "k", "x"], "key": PEM}, indent=1)


@pytest.mark.parametrize(
    "text", [ADDRESS, PEM, KEY, "one\n\ntwo", "MailChimp\nfor the sales team", 'say "hi"\nand go']
)
@pytest.mark.parametrize("column", ["description", "note", "auth_value", "reference", "property.Dc"])
@pytest.mark.parametrize("connector", [None, "MailChimp"])
def test_addresses_keys_and_other_texts_are_no_rows(text, column, connector):
    names = [
        "account_id",
        *([] if connector else ["connector"]),
        "auth_value",
        "description",
        "note",
        "reference",
    ]
    names = [*dict.fromkeys([*names, column])]
    values = {"account_id": "acme", "connector": "MailChimp", "auth_value": "k", column: text}
    out = io.StringIO(newline="")
    csv.writer(out).writerows(
        [names, *([values.get(n, "") for n in names], ["beta", *["MailChimp"] * (not connector), "k"])]
    )
    assert problems(out.getvalue(), options=RunOptions(connector=connector)) == []


def test_a_key_on_the_same_line_as_its_quotes_is_not_shown():
    text = "account_id,connector,description,api_key\n" + 'acme,MailChimp,"5 inch,k1"\nbeta,MailChimp,x,k2\n'
    (refused, _), said = outcomes(text)
    assert said == [
        "row 2: expected 4 cells as in the header, got 3, and a quote, a line break or a delimiter stands in one: is a quote "
        "misplaced here, or in the line above? If all is right, write the empty cells too"
    ]
    assert refused.cells == ("acme", "MailChimp", "[not exported]", "")


def test_what_is_left_of_a_row_behind_a_quote_shows_no_key_and_is_asked_of_nobody():
    text = (
        "account_id,connector,note,api_key,description\n"
        'acme,MailChimp,"12 High St,"\nLeeds",k1,\nbeta,MailChimp,,k2,\n'
    )
    opened = source(text)
    assert [ref.name_or_id for ref in survey(opened, OPTIONS).connectors] == ["MailChimp"]
    rest = next(row for row in outcomes(text)[0] if isinstance(row, RefusedRow) and row.number == 3)
    assert rest.cells == ("[not exported]", "[not exported]", "", "", "")


def test_a_short_line_among_short_lines_may_hold_the_delimiter():
    text = (
        "account_id,connector,description,api_key,note\n" + 'acme,MailChimp,"a, b",k1\nbeta,MailChimp,x,k2\n'
    )
    assert problems(text) == []


NOTED = "account_id,connector,api_key,description,reference\n"
FOUND = {
    "a last line that is shorter": (
        None,
        NOTED
        + 'acme-1,MailChimp,KEY-A1,x,"5 inch\nglobex-2,MailChimp,KEY-B2,6"\nini-3,MailChimp,KEY-C3,,x\n',
    ),
    "a shorter line between": (
        None,
        NOTED
        + 'acme-1,MailChimp,KEY-A1,a,"5 inch\nglobex-2,MailChimp,KEY-B2\nhooli-4,MailChimp,KEY-C3,6"\nstark-6,MailChimp,KEY-D4,,\n',
    ),
    "blanks behind commas": (
        "MailChimp",
        'account_id, account_name, api_key, reference\nacme-1, Acme, KEY-A1, "5 inch\nnewco-2, Bob, KEY-B2, 6"\nhooli-4, H, KEY-C3, x\n',
    ),
    "an id of another kind": (
        "MailChimp",
        'account_id,account_name,api_key,reference\nacme-1,Acme,KEY-A1,"5 inch\n9000,Nine,KEY-B2,6"\nhooli-4,H,KEY-C3,x\n',
    ),
    "a connector that only it names": (
        None,
        "account_id,account_name,connector,api_key,reference\n"
        'acme-1,Acme,MailChimp,KEY-A1,"5 inch\nBob,Bob Ltd,Desk,KEY-B2,6"\nhooli-4,H,MailChimp,KEY-C3,x\n',
    ),
    "a row within a key": (
        "MailChimp",
        'account_id,api_key,reference\nacme-1,KEY-A1,"-----BEGIN A-----\nhooli-4,KEY-B2,-----END A-----"\nglobex-2,KEY-C3,x\n',
    ),
    "lines that are not quoted at all": (
        "MailChimp",
        "account_id,description,api_key,reference,name\nacme-1,two\nlines x,KEY-A1,r,n\nglobex-2,d,KEY-B2,r,n\n",
    ),
    "a tab": (
        "MailChimp",
        'notes\treference\tapi_key\taccount_id\n"High St\t"\tKEY-A1\tacme-1\nn\tr\tKEY-B2\tglobex-2\n',
    ),
    "a connector's cell": (
        None,
        'account_id,connector,api_key\nacme-1,"MailChimp,KEY-A1"\nglobex-2,MailChimp,KEY-B2\n',
    ),
    "a connector's cell in a file of short lines": (
        None,
        'account_id,connector,api_key,notes\nacme-1,"MailChimp,KEY-A1,n"\nglobex-2,MailChimp,KEY-B2\n',
    ),
    "a version's cell": (
        None,
        'account_id,connector,connector_version,api_key,reference\nacme-1,Desk,"v2,KEY-A1",r\nglobex-2,MailChimp,,KEY-B2\n',
    ),
    "the name": (
        None,
        'account_id,connector,name,api_key,reference\nacme-1,MailChimp,"N,KEY-A1",r\nglobex-2,MailChimp,,KEY-B2\n',
    ),
    "a token": (
        None,
        'account_id,connector,reference,access_token,note\nacme-1,Books,"r,KEY-A1",n\nglobex-2,Books,,KEY-B2\n',
    ),
    "a credential's own cell": (
        "MailChimp",
        'account_id,api_key,account_name\nacme-1,KEY-A1,Acme Ltd\nglobex-2,"KEY-B2,Globex Ltd"\n',
    ),
    "a header": (
        None,
        '"api_key";"api key 2";"connector";"account_id""\n""KEY-A1";"KEY-A1\nKEY-A1";"MailChimp";"acme-1"\n"KEY-B2";"x";"MailChimp";"b-2"\n',
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_no_key_is_shown_asked_about_or_swallowed(name):
    connector, text = FOUND[name]
    said = faults(text)
    if said:
        assert not [line for line in said if "KEY-" in line]
        return
    options = RunOptions(connector=connector)
    opened = source(text)
    found = survey(opened, options)
    assert not [ref for ref in found.connectors if "KEY-" in str(ref)]
    assert not [account for account in found.accounts if "KEY-" in account.id]
    became, said = outcomes(text, options=options, asked=AskedAccounts({"lines x"}))
    assert not [line for line in said if "KEY-" in line]
    assert not [cell for row in became for cell in row.cells if "KEY-" in cell]
    kept = [value for row in became if isinstance(row, PlannedRow) for value in row.secrets.values()]
    assert not [value for value in kept if not re.fullmatch(r"KEY-[A-D][1-4]", value)]
    assert any(isinstance(row, RefusedRow) for row in became)


RIGHT = {
    "an inch in a short line": NOTED + 'acme-1,MailChimp,k1,"5"" screen"\nglobex-2,MailChimp,k2\n',
    "an address in a short line": NOTED + 'acme-1,MailChimp,k1,"12 High St\nLondon"\nglobex-2,MailChimp,k2\n',
    "a comma in a short line": 'account_id,account_name,connector,api_key,reference\nacme-1,"Acme, Inc.",MailChimp,k1\nglobex-2,G,MailChimp,k2\n',
    "a list of connectors": NOTED
    + 'acme-1,MailChimp,k1,,"Integrations:\nSlack, MailChimp"\nglobex-2,MailChimp,k2,,\n',
    "an address with many commas": NOTED
    + 'acme-1,MailChimp,k1,,"Unit 5\n1200, High Street, Leeds, York, UK"\nglobex-2,MailChimp,k2,,\n',
    "a key with headers": NOTED
    + 'acme-1,MailChimp,"-----BEGIN KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIE\n-----END KEY-----",,\nglobex-2,MailChimp,k2,,\n',
}


def test_what_may_be_the_rest_of_a_row_is_no_row_of_its_own():
    text = (
        "api_key,description,account_id,connector\n"
        'KEY-A1,two "\ny, z lines",acme,MailChimp\nKEY-B2,,beta,MailChimp\nKEY-C3,a 5" disk,gamma,MailChimp\n'
    )
    became, said = outcomes(text)
    assert [row.row.account_id for row in became if isinstance(row, PlannedRow)] == ["beta", "gamma"]
    assert (
        said[1]
        == "row 3: the line above ends too early, and this may be the rest of it: mend the quotes there"
    )


@pytest.mark.parametrize("name", RIGHT)
def test_right_files_pass(name):
    assert problems(RIGHT[name]) == []


def test_a_list_of_values_has_no_quotes_that_swallow():
    text = NOTED + 'acme-1,MailChimp,k1,"a\nglobex-2,MailChimp,x,y,z",\n'
    assert len(problems(text)) == 1
    assert problems(text, options=RunOptions(is_list=True)) == []


# A file in which each row has marks of its own, so that one sees in which record it ends.
TEXTS = st.sampled_from(
    (
        "",
        "",
        "x",
        'a 5" disk',
        "Leeds, UK",
        "two\nlines",
        "12 High St,\nLeeds",
        '"quoted"',
        "it's",
        ADDRESS,
        "#1",
        "a;b",
    )
)
COLUMNS = ("account_id", "connector", "api_key", "description", "note", "reference", "colour")


@st.composite
def files(draw, *, most_quotes=2):
    names = draw(st.permutations(COLUMNS))
    rows = []
    for number in range(draw(st.integers(2, 6))):
        row = dict.fromkeys(COLUMNS, "")
        row |= {name: draw(TEXTS) for name in ("description", "note", "reference", "colour")}
        row["account_id"] = f"acme-{number}0"
        row["connector"] = draw(st.sampled_from(["MailChimp", "MailChimp", "Books"]))
        row["api_key"] = f"key-{number}0" if row["connector"] == "MailChimp" else ""
        rows.append([row[name] for name in names])
        if draw(st.integers(0, 5)) == 0:
            rows.append(draw(st.sampled_from([["# a note"], []])))
    out = io.StringIO(newline="")
    delimiter = draw(st.sampled_from(",;"))
    csv.writer(out, delimiter=delimiter, lineterminator=draw(st.sampled_from(["\n", "\r\n"]))).writerows(
        [names, *rows]
    )
    text = out.getvalue()
    for _ in range(draw(st.integers(0, most_quotes))):
        # At the edge of a cell a quote does the most harm.
        edges = [match.end() for match in re.finditer(r"[,;\n]|(?=[,;\r\n])", text)]
        place = draw(st.sampled_from(edges) | st.integers(0, len(text)))
        text = f'{text[:place]}"{text[place:]}'
    return text


def marks(text):
    return set(re.findall(r"(?:acme|key)-(\d)0", text))


@settings(max_examples=1_000, deadline=None)
@given(files())
@example(HEADER + 'acme-10,MailChimp,key-10,"5 inch\nacme-20,MailChimp,key-20,7"\n')
def test_no_line_is_silently_missing_and_no_key_is_shown(text):
    if faults(text):
        return
    opened = source(text)
    became, said = outcomes(text)
    told = "\n".join(str(warning) for warning in survey(opened, OPTIONS).warnings)
    by_number = {row.row.number if isinstance(row, PlannedRow) else row.number: row for row in became}
    for line in opened.lines():
        whose = marks("\n".join((*line.cells, *(raw for _, raw in line.broken))))
        row = by_number.get(line.number)
        if row is None:
            assert len(whose) <= 1, "a comment or an empty line has swallowed a row"
            assert not whose or f"row {line.number}, " in told, "a comment that looks like a row is named"
        elif isinstance(row, PlannedRow):
            assert len(whose) <= 1, "a row has swallowed another"
    shown = [cell for row in became for cell in row.cells]
    assert not [text for text in (*shown, *said) if "key-" in text]


@settings(max_examples=300, deadline=None)
@given(files(most_quotes=0))
def test_a_right_file_has_no_problem(text):
    became, said = outcomes(text)
    assert said == []
    assert all(isinstance(row, PlannedRow) for row in became)
