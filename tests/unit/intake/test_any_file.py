"""What holds of every file, however odd."""

import csv
import io

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.intake.making import CATALOGUE, OPTIONS, Remembered, faults, plan, source, stored
from worker.domain.options import RunOptions
from worker.domain.rows import PlannedRow, RefusedRow, SkippedRow
from worker.domain.targets import KnownTarget, target_key
from worker.intake import AskedAccounts, Findings, ResultRow, iter_plan, iter_result_lines, survey

UPDATE = RunOptions(operation="update")
ANY_OPTIONS = (OPTIONS, RunOptions(look_again=True), RunOptions(allow_undeclared=True), UPDATE)
HEADER = (
    *("account_id", "connector", "connector_version", "name", "description", "authentication"),
    *("auth_value", "username", "password", "api_key", "access_token", "refresh_token", "expires"),
    *("property.Dc", "property.Pin", "property.ClientId", "account_name", "account_timezone", "reference"),
    *("_job", "_row", "_state", "apikey", "colour"),
)
ODD = st.sampled_from(
    (
        *("", "#", "# x", "[not exported]", "1.23E+15", "later", "ApiKey", "=1", "'=1", "acme", "MailChimp"),
        *(
            "Desk",
            "Nope",
            "a\nb",
            '"',
            "1",
            "j1",
            "us1",
            "Europe/London",
            "2027-01-31",
            " x ",
            "\u200b",
            "\x07",
        ),
    )
)
CELL = ODD | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
SECRETS = frozenset({"auth_value", "username", "password", "api_key", "access_token", "refresh_token"})


def as_csv(table, delimiter):
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows(table)
    return out.getvalue().encode("utf-8", "replace")


def outcomes(opened, memory, findings, options=OPTIONS):
    return list(
        iter_plan(
            opened,
            options,
            instance_id="i1",
            survey=survey(opened, options),
            catalogue=CATALOGUE,
            accounts=AskedAccounts({"gone"}),
            memory=memory,
            findings=findings,
        )
    )


PAST = Remembered(
    known={
        target_key("i1", "acme", "MailChimp"): KnownTarget("installed", "j1", 2),
        target_key("i1", "beta", "MailChimp"): KnownTarget("live", "j2", 3),
        target_key("i1", "gamma", "MailChimp"): KnownTarget("tried", "j1", 3),
    },
    rows={("j1", 2): stored(), ("j1", 3): stored("gamma", secrets={"api_key": "k"})},
)


def account_for(content, options=OPTIONS):
    """Every line of the file is counted once; a file that cannot be read says why."""
    if faults(content):
        return
    opened = source(content)
    counted = survey(opened, options)
    lines = list(opened.lines())
    findings = Findings()
    became = outcomes(opened, PAST, findings, options)
    numbers = [row.row.number if isinstance(row, PlannedRow) else row.number for row in became]
    assert counted.rows == len(became)
    assert len(lines) == len(became) + counted.comments + counted.empty
    assert numbers == [line.number for line in lines if not (line.is_empty or line.is_comment)]
    refused = [row for row in became if isinstance(row, RefusedRow)]
    assert all(row.problems for row in refused)
    assert findings.problem_count == sum(len(row.problems) for row in refused)
    assert all(len(row.cells) == len(opened.columns) for row in became)


# Values that make a good row now and then: of odd ones alone every row is refused.
LIKELY = {
    "account_id": st.sampled_from(["acme", "beta", "gamma", "gone", *(f"a{n}" for n in range(20))]),
    "connector": st.sampled_from(["MailChimp", "MailChimp", "7", "Desk"]),
    "api_key": st.sampled_from(["k", "k", "[not exported]", ""]),
    "property.Dc": st.sampled_from(["us1", "", "us9"]),
    "_job": st.just("j1"),
    "_row": st.sampled_from(["3", "3", "2"]),
}
RESULT = ("_job", "_row", "_state")


@st.composite
def tables(draw):
    rest = draw(st.lists(st.sampled_from(HEADER[2:]), max_size=4))
    wanted = ["account_id", "connector", "api_key", *draw(st.sampled_from([(), RESULT])), *rest]
    names = draw(st.permutations(list(dict.fromkeys(wanted))))
    rows = [[draw(LIKELY.get(n, st.just(""))) for n in names] for _ in range(draw(st.integers(0, 8)))]
    for row in rows:
        oddity = draw(st.integers(0, 5))
        if oddity == 0:
            row[draw(st.integers(0, len(row) - 1))] = draw(CELL)
        elif oddity == 1:
            row[:] = draw(st.sampled_from([[], ["#"], ["", ""], [*row, "x"], row[:1]]))
    return [names, *rows]


@settings(max_examples=300, deadline=None)
@given(tables(), st.sampled_from(",;\t|"), st.sampled_from(ANY_OPTIONS))
def test_every_line_of_a_table_is_accounted_for(table, delimiter, options):
    account_for(as_csv(table, delimiter), options)


@settings(max_examples=300, deadline=None)
@given(tables())
def test_an_update_leaves_no_row_out_and_each_names_what_it_changes(table):
    content = as_csv(table, ",")
    if faults(content):
        return
    for row in outcomes(source(content), PAST, Findings(), UPDATE):
        assert not isinstance(row, SkippedRow)
        if isinstance(row, PlannedRow):
            assert row.secrets or row.row.description
            assert (row.row.account, row.not_kept) == (None, ())


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.binary(max_size=200).map(lambda data: b"account_id,connector,api_key\n" + data)
)
@example(b"account_id\n\xff\xfe")
@example(b"\xff\xfe")
@example(b"'")
@example(b"account_id,connector\r\r\n")
def test_any_bytes_are_read_or_refused(data):
    account_for(data)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_below_a_header_is_accounted_for(text):
    account_for(f"account_id,connector,api_key\n{text}".encode("utf-8", "replace"))


SECRET_CELL = st.sampled_from(["", "", "SESAME", "SESAME-1:x", "SESAME\x07", "SESAME " + "x" * 50_001])


@settings(max_examples=200, deadline=None)
@given(
    st.permutations(HEADER).map(lambda names: ["account_id", *(n for n in names if n != "account_id")]),
    st.lists(st.tuples(*(SECRET_CELL if n in SECRETS else CELL for n in HEADER)), min_size=1, max_size=6),
    st.booleans(),
)
def test_no_secret_is_in_a_message_a_repr_or_a_result(names, rows, is_shifted):
    too_many = ["one cell too many"] if is_shifted else []
    by_name = [dict(zip(HEADER, row, strict=True)) for row in rows]
    table = [["acme", *too_many, *(row[name] for name in names[1:])] for row in by_name]
    findings = Findings()
    became = plan(as_csv([names, *table], ","), findings=findings, memory=Remembered())
    said = [*map(str, findings.problems), *map(str, findings.warnings), *map(repr, became)]
    shown = [cell for row in became for cell in row.cells]
    assert not [text for text in (*said, *shown) if "SESAME" in text]


KEYS = st.text(alphabet="abc'=+-@#1é", min_size=1, max_size=6).map(lambda text: f"k{text}")
TEXTS = (
    st.text(alphabet="abc'=+-@#1é ,;\n\"", max_size=8).map(str.strip).filter(lambda text: text[:2] != '="')
)
PLAIN = st.text(alphabet="abc'=+-@#1é ,;\"", max_size=8).map(str.strip).filter(lambda text: text[:2] != '="')


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(KEYS, TEXTS, PLAIN, st.sampled_from(["us1", ""])), min_size=1, max_size=8))
def test_a_result_file_read_back_gives_the_same_rows_with_secrets_by_reference(given_rows):
    header = [
        "reference_",
        "account_id",
        "connector",
        "api_key",
        "description",
        "account_name",
        "property.Dc",
    ]
    table = [
        ["r", f"a{number}", "MailChimp", key, description, name, dc]
        for number, (key, description, name, dc) in enumerate(given_rows)
    ]
    opened = source(as_csv([header, *table], ","))
    first = outcomes(opened, Remembered(), Findings())
    assert all(isinstance(row, PlannedRow) for row in first)
    done = [ResultRow(row.cells, "j1", str(row.row.number), "failed") for row in first]
    written = "".join(iter_result_lines(opened.columns, done, delimiter=opened.delimiter))
    assert not [key for key, *_ in given_rows if len(key) > 4 and key in written]

    kept = {("j1", row.row.number): stored(row.row.account_id, row.name, row.secrets) for row in first}
    again = outcomes(source(written), Remembered(rows=kept), Findings())
    assert [essence(row) for row in again] == [essence(row) for row in first]
    assert [row.row.stored_at for row in again] == [("j1", row.row.number) for row in first]

    installed = {row.target: KnownTarget("installed", "j1", row.row.number) for row in first}
    skipped = outcomes(source(written), Remembered(installed, kept), Findings())
    assert [(type(row), row.row_number) for row in skipped] == [(SkippedRow, row.row.number) for row in first]


def essence(planned):
    row = planned.row
    said = (row.account_id, row.connector, row.name, row.description, row.account, row.reference)
    return said, planned.name, planned.target, planned.authentication_id, dict(planned.secrets)
