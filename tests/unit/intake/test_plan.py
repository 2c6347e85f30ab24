import io
from dataclasses import replace

import pytest

from tests.unit.intake.making import (
    CATALOGUE,
    KEY,
    PATH,
    Remembered,
    plan,
    reasons,
    stored,
    warnings,
)
from worker.domain.connectors import ConnectorRef
from worker.domain.options import RunOptions
from worker.domain.rows import PlannedRow, Problem, RefusedRow, SkippedRow
from worker.domain.targets import KnownTarget, target_key
from worker.intake import (
    AskedAccounts,
    FileChanged,
    Findings,
    connector_key,
    iter_plan,
    read_source,
    survey,
)

TARGET = target_key("i1", "acme", "MailChimp")
ONE = "account_id,connector,api_key\nacme,MailChimp,sesame\n"
KEPT = {"api_key": "sesame", "property.Dc": "us2"}
RESULT = "account_id,connector,api_key,property.Dc,_job,_row,_state\n"


def test_a_good_row_is_planned_with_all_that_an_item_needs():
    (row,) = plan(
        "account_id,connector,api_key,property.Dc,property.Pin,reference\nacme,mailchimp,sesame,us1,1,r1\n",
        catalogue={ConnectorRef("mailchimp"): CATALOGUE[ConnectorRef("MailChimp")]},
    )
    assert isinstance(row, PlannedRow)
    assert (row.name, row.target, row.connector_key) == ("MailChimp", TARGET, "mailchimp")
    assert (row.authentication_id, row.must_look) == (KEY.id, False)
    assert row.secrets == {"api_key": "sesame", "property.Dc": "us1", "property.Pin": "1"}
    assert row.cells == ("acme", "mailchimp", "[not exported]", "us1", "[not exported]", "r1")


def test_an_empty_property_cell_is_not_sent():
    (row,) = plan("account_id,connector,api_key,property.Dc\nacme,MailChimp,k,\n")
    assert row.secrets == {"api_key": "k"}


def test_comments_and_empty_lines_become_nothing():
    (row,) = plan("account_id,connector,api_key\n# x\n\n,,\nacme,MailChimp,k\n")
    assert row.row.number == 5


def test_connectors_named_in_different_ways_have_different_keys():
    assert connector_key(ConnectorRef("Desk", "v2")) != connector_key(ConnectorRef("Desk v2"))


def test_an_unresolved_connector_is_refused_with_its_reason():
    text = "account_id,connector\nacme,Nope\n"
    assert reasons(text) == ["row 2, column connector: Cyclr has no connector 'Nope'"]
    assert reasons("account_id\nacme\n", options=RunOptions(connector="Nope")) == [
        "row 2: Cyclr has no connector 'Nope'"
    ]
    assert reasons("account_id,connector\nacme,Other\n") == ["row 2, column connector: it was not looked up"]


def test_all_problems_of_a_row_come_together():
    text = "account_id,connector,Property.Dcc\nacme,MailChimp,us1\n"
    assert reasons(text, missing={"acme"}) == [
        "row 2, column account_id: Cyclr has no account 'acme': correct the id, or fill in account_name "
        "in this row to have the account created",
        "row 2, column api_key: the method 'API key' (ApiKey) of MailChimp needs api_key, got no credential; "
        "or write later in the column authentication",
        "row 2, column Property.Dcc: MailChimp has no such property; expected one of Dc, Pin",
    ]


def test_the_catalogue_and_the_accounts_are_asked_about_a_row_with_a_problem_of_its_own_too():
    text = "account_id,connector,api_key,account_timezone,property.Colour\nacme,MailChimp,k,Mars,red\n"
    assert reasons(text, missing={"acme"}) == [
        "row 2, column account_name: expected the account's name beside account_timezone, got an empty cell",
        "row 2, column account_timezone: expected the name of a time zone such as Europe/London, got another text",
        "row 2, column account_id: Cyclr has no account 'acme': correct the id, or fill in account_name "
        "in this row to have the account created",
        "row 2, column property.Colour: MailChimp has no such property; expected one of Dc, Pin",
    ]


def test_a_missing_account_with_account_columns_is_to_be_created():
    (row,) = plan("account_id,connector,api_key,account_name\nacme,MailChimp,k,Acme\n", missing={"acme"})
    assert row.row.account.name == "Acme"


def test_different_account_values_for_one_account_are_a_problem():
    text = (
        "account_id,connector,name,api_key,account_name,account_timezone\n"
        "acme,MailChimp,a,k,Acme,\nACME,MailChimp,b,k,Acme,\nacme,MailChimp,c,k,Acme,Europe/London\n"
        "acme,MailChimp,d,k,,\n"
    )
    assert reasons(text) == [
        "row 4, column account_name: expected the same account_name, account_description and account_timezone "
        "as in row 2, which is of the same account; got others"
    ]


def test_the_same_target_twice_names_the_other_row():
    text = (
        "account_id,connector,name,api_key\nacme,MailChimp,,k\nAcme,7, mailchimp ,k\nacme,MailChimp,two,k\n"
    )
    assert reasons(text) == [
        "row 3: it repeats row 2: account 'Acme' gets 'mailchimp' once; remove one of the two, "
        "or give it another name"
    ]


def test_a_target_that_is_live_elsewhere_names_that_job():
    memory = Remembered({TARGET: KnownTarget("live", "j7", 12)})
    assert reasons(ONE, memory=memory) == [
        "row 2: still to be done by job j7: let that job end first, or cancel it"
    ]


@pytest.mark.parametrize("state", ["installed", "tried"])
def test_a_target_that_was_tried_before_is_looked_for_first(state):
    (row,) = plan(ONE, memory=Remembered({TARGET: KnownTarget(state, "j7", 12)}))
    assert isinstance(row, PlannedRow)
    assert row.must_look is True


def test_a_row_of_a_result_file_is_skipped_only_when_our_database_says_installed():
    text = RESULT + "acme,MailChimp,[not exported],us1,j1,2,installed\n"
    installed = Remembered({TARGET: KnownTarget("installed", "j7", 12)}, {("j1", 2): stored()})
    assert plan(text, memory=installed) == [
        SkippedRow(
            2, ("acme", "MailChimp", "[not exported]", "[not exported]", "j1", "2", "installed"), "j7", 12
        )
    ]
    tried = Remembered({TARGET: KnownTarget("tried", "j7", 12)}, {("j1", 2): stored(secrets=KEPT)})
    (row,) = plan(text, memory=tried)
    assert isinstance(row, PlannedRow)


def test_an_installed_row_of_a_result_file_is_skipped_whatever_the_catalogue_says():
    text = RESULT + "acme,Nope,[not exported],,j1,2,installed\n"
    known = {target_key("i1", "acme", "Nope"): KnownTarget("installed", "j1", 2)}
    memory = Remembered(known, {("j1", 2): stored(name="Nope", key="Nope")})
    (row,) = plan(text, memory=memory)
    assert isinstance(row, SkippedRow)


def test_withheld_values_come_from_the_item_that_holds_them():
    text = RESULT + "acme,MailChimp,[not exported],[not exported],j1,9,failed\n"
    memory = Remembered(rows={("j1", 9): stored(secrets=KEPT)})
    (row,) = plan(text, memory=memory)
    assert row.secrets == KEPT
    assert row.cells == ("acme", "MailChimp", "[not exported]", "us2", "j1", "9", "failed")


def test_a_value_that_was_filled_in_wins_over_the_stored_one():
    text = RESULT + "acme,MailChimp,new,[not exported],j1,9,failed\n"
    (row,) = plan(
        text, memory=Remembered(rows={("j1", 9): stored(secrets={"api_key": "old", "property.Dc": "us1"})})
    )
    assert row.secrets == {"api_key": "new", "property.Dc": "us1"}


def test_a_wiped_credential_has_to_be_filled_in():
    text = RESULT + "# x\n" * 12 + "acme,MailChimp,[not exported],[not exported],j1,9,failed\n"
    assert reasons(text, memory=Remembered(rows={("j1", 9): stored()})) == [
        "row 14, column api_key: the credential is no longer kept, fill it in",
        "row 14, column property.Dc: the value is no longer kept, fill it in",
    ]


def test_a_credential_that_was_never_stored_has_to_be_filled_in():
    text = RESULT + "acme,MailChimp,[not exported],,j1,9,failed\n"
    message = "row 2, column api_key: row 9 of job j1 has no such credential, fill it in"
    assert reasons(text, memory=Remembered(rows={("j1", 9): stored(secrets={})})) == [message]
    assert reasons(text, memory=Remembered(rows={("j1", 9): None})) == [message]


def test_the_stand_in_is_never_sent_even_if_nothing_is_known():
    text = RESULT + "acme,MailChimp,[not exported],,j1,9,failed\n"
    source = read_source(PATH, lambda: io.BytesIO(text.encode()))
    options = RunOptions()
    known = survey(source, options)
    (row,) = iter_plan(
        source,
        options,
        instance_id="i1",
        survey=known,
        catalogue=None,
        accounts=None,
        memory=None,
        findings=Findings(),
    )
    assert row.secrets == {}


def test_without_cyclr_only_the_rules_of_the_file_apply():
    text = "account_id,connector,property.Dc\nacme,Whatever,x\nacme,Whatever,x\n"
    planned, repeated = plan(text, catalogue=None)
    assert (planned.name, planned.authentication_id) == ("Whatever", None)
    assert planned.cells == ("acme", "Whatever", "[not exported]")
    assert isinstance(repeated, RefusedRow)


def test_memory_is_asked_in_batches():
    text = "account_id,connector,api_key\n" + "".join(f"a{n},MailChimp,k\n" for n in range(2_001))
    memory = Remembered()
    assert len(plan(text, memory=memory)) == 2_001
    assert memory.asked == [1_000, 1_000, 1]


def test_a_batch_of_long_rows_is_no_larger_in_memory():
    text = "account_id,connector,api_key,note\n" + "".join(
        f"a{n},MailChimp,k,{'n' * 50_000}\n" for n in range(200)
    )
    memory = Remembered()
    assert len(plan(text, memory=memory)) == 200
    assert memory.asked == [80, 80, 40]


def test_a_repeat_is_found_across_batches():
    text = "account_id,connector,api_key\n" + "".join(f"a{n % 1_500},MailChimp,k\n" for n in range(1_501))
    assert [row.number for row in plan(text) if isinstance(row, RefusedRow)] == [1_502]


def test_keeps_the_first_thousand_different_problems_and_the_count():
    findings = Findings()
    for number in range(2, 1_202):
        findings.add_problem(Problem(number, "name", f"got {number}"))
    assert findings.problem_count == 1_200
    assert len(findings.problems) == 1_000
    assert findings.problems[0] == Problem(2, "name", "got 2")


def test_the_same_problem_of_many_rows_stands_once_with_these_rows():
    text = "account_id,connector,api_key\n" + ",MailChimp,k\n" * 50_000
    findings = Findings()
    plan(text, findings=findings)
    [problem] = findings.problems
    assert (
        str(problem)
        == "rows 2-50001, column account_id: expected an account id, got an empty cell (50,000 rows)"
    )
    assert findings.problem_count == 50_000


def test_rows_that_do_not_follow_each_other_are_named_as_far_as_they_are_few():
    text = "account_id,connector,api_key\n" + ",MailChimp,k\nacme,MailChimp,k\n,MailChimp,k\n" * 5
    assert (
        "rows 2, 4-5, 7-8, 10-11, 13-14 and 1 more, column account_id: expected an account id, got an empty cell (10 rows)"
        in reasons(text)
    )


def test_problems_that_name_different_values_stay_apart():
    assert reasons(
        "account_id,connector,api_key\nnone-1,MailChimp,k\nnone-2,MailChimp,k\n", missing={"none-1", "none-2"}
    )[1].startswith("row 3,")


def test_the_same_warning_of_many_rows_stands_once():
    text = "account_id,connector,api_key,property.Dc\n" + "".join(
        f"a{n},MailChimp,k,us9\n" for n in range(1_500)
    )
    assert warnings(text) == [
        "rows 2-1501, column property.Dc: expected one of us1, us2, got 'us9' (1,500 rows)"
    ]


def test_a_refused_row_gives_no_warning():
    assert warnings("account_id,connector,property.Dc\nacme,MailChimp,us9\n") == []


def test_a_file_that_changed_between_the_passes_is_noticed():
    contents = [ONE.encode()] * 4 + [ONE.replace("acme", "beta").encode()]
    source = read_source(PATH, lambda: io.BytesIO(contents.pop(0)))
    known = survey(source, RunOptions())
    with pytest.raises(FileChanged):
        list(
            iter_plan(
                source,
                RunOptions(),
                instance_id="i1",
                survey=known,
                catalogue=CATALOGUE,
                accounts=AskedAccounts(),
                memory=None,
                findings=Findings(),
            )
        )


UPDATE = RunOptions(operation="update")
AGAIN = RunOptions(look_again=True)
DONE = Remembered({TARGET: KnownTarget("installed", "j7", 12)}, {("j1", 2): stored()})


@pytest.mark.parametrize("state", ["done", "installed"])
def test_a_done_row_is_left_out_of_a_run_by_whatever_version_its_result_file_is(state):
    changed = ",api_key" if state == "done" else ""
    text = (
        "account_id,connector,api_key,_job,_row,_state"
        f"{',_changed' if changed else ''}\nacme,MailChimp,[not exported],j1,2,{state}{changed}\n"
    )
    (row,) = plan(text, memory=DONE)
    assert (type(row), row.job_id, row.row_number) == (SkippedRow, "j7", 12)


def test_a_done_row_is_looked_at_again_where_that_is_asked_for_without_the_values_that_are_not_kept():
    text = RESULT + "acme,MailChimp,[not exported],us1,j1,2,done\n"
    (row,) = plan(text, options=AGAIN, memory=DONE)
    assert (row.secrets, row.not_kept) == ({"property.Dc": "us1"}, ("api_key",))
    assert (row.must_look, row.authentication_id) == (True, KEY.id)


def test_what_is_still_kept_of_a_row_that_is_looked_at_again_is_compared():
    text = RESULT + "acme,MailChimp,[not exported],[not exported],j1,2,failed\n"
    memory = Remembered(DONE.known, {("j1", 2): stored(secrets=KEPT)})
    (row,) = plan(text, options=AGAIN, memory=memory)
    assert (row.secrets, row.not_kept) == (KEPT, ())


def test_no_other_row_goes_on_without_its_values_where_done_ones_are_looked_at_again():
    text = RESULT + "acme,MailChimp,[not exported],,j1,2,failed\n"
    tried = Remembered({TARGET: KnownTarget("tried", "j1", 2)}, {("j1", 2): stored()})
    assert reasons(text, options=AGAIN, memory=tried) == [
        "row 2, column api_key: the credential is no longer kept, fill it in"
    ]


def test_a_done_row_with_a_new_credential_is_no_longer_the_row_that_is_done():
    text = RESULT + "acme,MailChimp,new,us1,j1,2,done\n"
    (row,) = plan(text, memory=DONE)
    assert (row.secrets, row.must_look) == ({"api_key": "new", "property.Dc": "us1"}, True)


@pytest.mark.parametrize(("item_id", "left_out"), [(6, True), (7, True), (8, False)])
def test_a_row_that_came_after_what_is_done_is_not_done(item_id, left_out):
    text = RESULT + "acme,MailChimp,[not exported],us1,j8,2,failed\n"
    known = KnownTarget("installed", "j7", 12, item_id=7)
    later = replace(stored(secrets=KEPT), item_id=item_id)
    memory = Remembered({TARGET: known}, {("j8", 2): later})
    (row,) = plan(text, options=RunOptions(overwrite=True), memory=memory)
    assert isinstance(row, SkippedRow) is left_out
    assert left_out or row.secrets == {"api_key": "sesame", "property.Dc": "us1"}


def test_a_row_that_was_left_alone_runs_again_with_its_values_where_they_may_overwrite():
    text = RESULT + "acme,MailChimp,[not exported],us1,j1,2,failed\n"
    memory = Remembered({TARGET: KnownTarget("tried", "j1", 2)}, {("j1", 2): stored(secrets=KEPT)})
    (row,) = plan(text, options=RunOptions(overwrite=True), memory=memory)
    assert row.secrets == {"api_key": "sesame", "property.Dc": "us1"}


def test_an_update_leaves_out_no_row_that_is_done():
    text = RESULT + "acme,MailChimp,new,us1,j1,2,done\nbeta,MailChimp,,us2,j1,3,done\n"
    beta = target_key("i1", "beta", "MailChimp")
    memory = Remembered(
        DONE.known | {beta: KnownTarget("installed", "j1", 3)}, DONE.rows | {("j1", 3): stored("beta")}
    )
    first, second = plan(text, options=UPDATE, memory=memory)
    assert first.secrets == {"api_key": "new", "property.Dc": "us1"}
    assert (second.secrets, second.not_kept) == ({"property.Dc": "us2"}, ())


def test_an_update_says_that_an_empty_cell_leaves_the_credential_as_it_is():
    text = RESULT + "acme,MailChimp,[not exported],[not exported],j1,2,done\n"
    assert reasons(text, options=UPDATE, memory=DONE) == [
        "row 2, column api_key: the credential is no longer kept, fill it in, or empty the cell to leave the credential as it is",
        "row 2, column property.Dc: the value is no longer kept, fill it in, or empty the cell to leave the value as it is",
    ]


def test_an_update_has_no_way_to_create_an_account_that_is_missing():
    assert reasons(ONE, options=UPDATE, missing={"acme"}) == [
        "row 2, column account_id: Cyclr has no account 'acme': correct the id"
    ]
    text = "account_id,connector,api_key,account_name\nacme,MailChimp,k,Acme\n"
    assert reasons(text, options=UPDATE, missing={"acme"}) == [
        "row 2, column account_name: an update creates no account: empty the cell",
        "row 2, column account_id: Cyclr has no account 'acme': correct the id",
    ]


def test_an_update_finds_its_thing_by_the_connectors_name_and_the_file_is_still_held_against_the_catalogue():
    (row,) = plan("account_id,connector,property.Dc\nacme,7,us1\n", options=UPDATE)
    assert (row.name, row.target, row.secrets) == ("MailChimp", TARGET, {"property.Dc": "us1"})
    assert reasons("account_id,connector,property.Dc\nacme,Nope,us1\n", options=UPDATE) == [
        "row 2, column connector: Cyclr has no connector 'Nope'"
    ]
