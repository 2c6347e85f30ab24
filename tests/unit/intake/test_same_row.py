"""What a row of a result file leads to is used only where the row is still what it was."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.intake.making import CATALOGUE, Remembered, plan, reasons, stored
from worker.domain.connectors import ConnectorRef
from worker.domain.rows import PlannedRow, SkippedRow
from worker.domain.targets import KnownTarget, target_key

HEADER = "account_id,connector,name,api_key,_job,_row,_state\n"
KEPT = {"api_key": "sesame"}
PAST = Remembered(
    rows={
        ("j1", 2): stored("00123", secrets=KEPT),
        ("j1", 3): stored("beta", "EU", KEPT),
        ("j1", 4): stored("beta", "US", KEPT),
        ("j1", 5): None,
        ("j2", 2): stored("acme", "Desk", KEPT, key="Desk", version="v2"),
        ("j3", 2): stored("acme", secrets=KEPT, instance="another"),
    },
    named={
        ("j1", target_key("i1", "beta", "US")): 4,
        ("j1", target_key("i1", "beta", "EU")): 3,
    },
)
FILL_IN = "fill the credential in (api_key)"
AS_NEW = "empty _job and _row to make this a new row"


def said(*rows):
    return reasons(HEADER + "".join(f"{row},failed\n" for row in rows), memory=PAST)


def test_a_row_that_is_as_it_was_takes_what_is_stored():
    (row,) = plan(HEADER + "00123,MailChimp,,[not exported],j1,2,failed\n", memory=PAST)
    assert isinstance(row, PlannedRow)
    assert row.secrets == KEPT


@pytest.mark.parametrize(("key", "advice"), [("[not exported]", FILL_IN), ("", AS_NEW)])
def test_another_account_is_a_problem_also_without_a_credential(key, advice):
    problem = f"row 2, column account_id: row 2 of job j1 was for account 00123, this row says 123; put the id back, or {advice}"
    assert problem in said(f"123,MailChimp,,{key},j1,2")


def test_another_connector_is_a_problem():
    assert said("00123,Books,MailChimp,,j1,2") == [
        f"row 2, column connector: row 2 of job j1 was for MailChimp, this row says Books; put it back, or {AS_NEW}"
    ]


def test_another_version_of_the_connector_is_another_connector():
    other = CATALOGUE | {ConnectorRef("Desk", "v1"): CATALOGUE[ConnectorRef("MailChimp")]}
    text = HEADER.replace("name,", "connector_version,").replace("_job", "authentication,_job")
    problems = reasons(
        text + "acme,Desk,v1,[not exported],ApiKey,j2,2,failed\n", memory=PAST, catalogue=other
    )
    assert [problem.partition(" was for ")[0] for problem in problems[:1]] == [
        "row 2, column connector: row 2 of job j2"
    ]


def test_the_same_connector_by_its_id_is_the_same():
    (row,) = plan(HEADER + "00123,7,,[not exported],j1,2,failed\n", memory=PAST)
    assert isinstance(row, PlannedRow)


def test_a_new_name_is_allowed_and_one_of_another_row_is_not():
    (row,) = plan(HEADER + "beta,MailChimp,EU 2,[not exported],j1,3,failed\n", memory=PAST)
    assert (row.name, row.secrets) == ("EU 2", KEPT)
    swapped = said("beta,MailChimp,US,[not exported],j1,3", "beta,MailChimp,EU,[not exported],j1,4")
    assert swapped == [
        "row 2, column name: row 3 of job j1 was for 'EU', and 'US' in this account is row 4 of job j1; put the name back, "
        f"take one that no row has, or {FILL_IN}",
        "row 3, column name: row 4 of job j1 was for 'US', and 'EU' in this account is row 3 of job j1; put the name back, "
        f"take one that no row has, or {FILL_IN}",
    ]


def test_a_name_that_another_job_has_installed_is_not_silently_left_out():
    known = {target_key("i1", "beta", "Old"): KnownTarget("installed", "j9", 7)}
    text = HEADER + "beta,MailChimp,Old,[not exported],j1,3,failed\n"
    (problem,) = reasons(text, memory=Remembered(known, PAST.rows))
    assert "'Old' in this account is row 7 of job j9" in problem


@pytest.mark.parametrize(
    "row",
    [
        "123,MailChimp,,new-key,j1,2",
        "123,MailChimp,,new-key,,",
        "other,MailChimp,,new-key,j1,5",
        "123,MailChimp,,new-key,j8,99",
    ],
    ids=["credential filled in", "emptied", "refused at intake", "unknown, and filled in"],
)
def test_a_row_that_takes_nothing_of_what_is_stored_is_free(row):
    assert said(row) == []


def test_two_rows_that_refer_to_one_are_a_problem_for_both():
    assert said("00123,MailChimp,,[not exported],j1,2", "00123,MailChimp,Two,[not exported],j1,2") == [
        f"row 2, column _row: another row refers to row 2 of job j1 too, and only one can be it: put the right _row back, or {FILL_IN}",
        f"row 3, column _row: row 2 refers to row 2 of job j1 too, and only one can be it: put the right _row back, or {FILL_IN}",
    ]


def test_a_copy_that_brings_its_own_credential_leaves_the_first_as_it_is():
    assert said("00123,MailChimp,,[not exported],j1,2", "delta,MailChimp,,its-own,j1,2") == []


def test_a_row_of_another_instance_is_a_problem():
    assert said("acme,MailChimp,,[not exported],j3,2") == [
        f"row 2, column _job: job j3 was for another Cyclr: {FILL_IN}"
    ]


def test_a_row_that_is_not_known_is_a_problem_also_without_a_credential():
    unknown = (
        "row 2, column _row: row 77 of job j1 is not known here, so nothing of it can be used: put back what the result file "
        f"said, or {AS_NEW}"
    )
    assert unknown in said("acme,Books,,,j1,77")


@pytest.mark.parametrize(("job", "row"), [("j1", ""), ("", "2"), ("j1", "2.0"), ("j1", "x")])
def test_half_a_reference_is_a_problem(job, row):
    (problem,) = said(f"acme,Books,,,{job},{row}")
    assert "or empty _job and _row, and write all values, to make this a new row" in problem


def test_an_installed_row_is_left_out_only_where_it_is_as_it_was():
    installed = {
        target_key("i1", "00123", "MailChimp"): KnownTarget("installed", "j1", 2),
        target_key("i1", "123", "MailChimp"): KnownTarget("installed", "j1", 9),
    }
    memory = Remembered(installed, PAST.rows)
    (same,) = plan(HEADER + "00123,MailChimp,,[not exported],j1,2,installed\n", memory=memory)
    assert isinstance(same, SkippedRow)
    (problem,) = reasons(HEADER + "123,MailChimp,,[not exported],j1,2,installed\n", memory=memory)
    assert "was for account 00123, this row says 123" in problem


ACCOUNTS = ("00123", "123", "beta")
NAMES = ("EU", "US", "Other", "")
FIRST = [(account, name) for account in ACCOUNTS for name in ("EU", "US")]


@st.composite
def changes(draw):
    """Rows of a result file, in any order, lost, copied, and with any cells of another row or of nobody."""
    rows = [
        [account, "MailChimp", name, "[not exported]", "j1", str(n)]
        for n, (account, name) in enumerate(FIRST, 2)
    ]
    rows = [list(row) for row in draw(st.lists(st.sampled_from(rows), min_size=1, max_size=8))]
    for _ in range(draw(st.integers(0, 4))):
        row = draw(st.sampled_from(rows))
        column = draw(st.integers(0, 5))
        other = {1: ["Books", "7", "MailChimp"], 3: ["", "own", "[not exported]"], 4: ["", "j1", "j2"]}
        ids = {0: [*ACCOUNTS, "new"], 2: NAMES, 5: ["", "2", "3", "4", "5", "6", "7", "8"]}
        row[column] = draw(st.sampled_from({**other, **ids}[column]))
    return rows


@settings(max_examples=500, deadline=None)
@given(changes())
def test_no_change_of_cells_sends_a_stored_key_elsewhere(rows):
    past = {
        ("j1", n): stored(account, name, {"api_key": f"{account} {name}"})
        for n, (account, name) in enumerate(FIRST, 2)
    }
    named = {("j1", target_key("i1", account, name)): n for n, (account, name) in enumerate(FIRST, 2)}
    text = HEADER + "".join(",".join(row) + ",failed\n" for row in rows)
    for row in plan(text, memory=Remembered(rows=past, named=named)):
        if isinstance(row, PlannedRow) and row.secrets and row.secrets != {"api_key": "own"}:
            account, name = row.secrets["api_key"].split(" ")
            assert row.row.account_id == account
            assert row.connector_key in ("MailChimp", "7")
            assert row.name == name or (account, row.name) not in FIRST


def test_a_row_that_brings_a_key_and_takes_a_stored_property_is_compared():
    text = HEADER.replace("_job", "property.Pin,_job") + "123,MailChimp,,own,[not exported],j1,2,failed\n"
    (problem,) = reasons(text, memory=PAST)
    assert "was for account 00123, this row says 123" in problem
