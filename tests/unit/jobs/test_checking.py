from tests.unit.intake.making import CATALOGUE, OPTIONS, plan, source
from worker.domain.options import RunOptions
from worker.domain.rows import Warning_
from worker.jobs.checking import AccountsToCreate, Calls, Estimate, check_offline


def test_the_first_five_of_the_new_accounts_are_named_and_all_are_counted() -> None:
    new = AccountsToCreate(count=0, first=[])
    for number in range(1, 13):
        new.add(f"acme-{number}")
    assert new == AccountsToCreate(count=12, first=["acme-1", "acme-2", "acme-3", "acme-4", "acme-5"])


def test_doubted_columns_are_told_in_one_order() -> None:
    checked = check_offline(source("account_id,connector\nacme,Desk\n"), OPTIONS)
    assert checked.doubted_columns == ()
    checked.findings.doubted.add("connector_version")
    checked.findings.doubted.add("account_id")
    assert checked.doubted_columns == ("account_id", "connector_version")


def test_warnings_of_the_file_and_of_its_rows_are_told_together() -> None:
    checked = check_offline(source("account_id,connector,colour\nacme,Desk,\nglobex,Desk,\n"), OPTIONS)
    for row in (2, 3):
        checked.findings.add_warning(Warning_(row, "account_id", "it looks odd"))
    assert [str(warning) for warning in checked.warnings] == [
        "column colour: unknown, it is ignored",
        "rows 2-3, column account_id: it looks odd (2 rows)",
    ]
    assert checked.warning_count == 3


TWO = "account_id,connector,api_key,property.Dc,description\nacme,MailChimp,k,us1,\nbeta,MailChimp,k,,d\n"


def calls(text: str, options: RunOptions, missing: frozenset[str] = frozenset()) -> Calls:
    counted = Calls()
    for row in plan(text, options=options, missing=missing):
        is_new = row.row.account_id in missing
        connector = CATALOGUE[row.row.connector]
        counted.add(row, options, connector, is_new_account=is_new)
    return counted


def test_an_update_looks_at_each_row_and_changes_what_it_names() -> None:
    assert calls(TWO, RunOptions(operation="update")) == Calls(looks=2, changes=3, overwrites=4, all=5)


def test_a_run_that_may_overwrite_installs_a_row_or_changes_what_is_there() -> None:
    counted = calls(TWO, RunOptions(overwrite=True))
    assert counted == Calls(looks=2, installs=2, changes=3, overwrites=4, all=5)


def test_a_run_sets_what_is_missing_and_replaces_nothing() -> None:
    # Not the description: what differs in that alone is as asked.
    text = TWO.replace("k,,d", ",,d").replace("beta,MailChimp", "beta,Books")
    assert calls(text, RunOptions()) == Calls(looks=2, installs=2, changes=2, all=5)


def test_nothing_is_looked_for_in_an_account_that_the_row_makes() -> None:
    text = "account_id,connector,api_key,account_name\nnew,MailChimp,k,New\n"
    counted = calls(text, RunOptions(), frozenset({"new"}))
    assert counted == Calls(installs=1, new_accounts=1, all=2)


def test_what_an_install_may_not_carry_is_set_after_it() -> None:
    text = "account_id,connector,property.ClientId,property.ClientSecret\nacme,Books,c,s\n"
    assert calls(text, RunOptions(no_look=True)) == Calls(installs=1, changes=2, all=3)


def test_calls_are_told_by_kind() -> None:
    estimate = Estimate(looks=9, installs=9, changes=18, new_accounts=8, calls=35, seconds=3.5, overwrites=0)
    assert (
        estimate.calls_in_words
        == "9 looks, at most 9 installs or 18 changes of what is there, 8 to create accounts"
    )
    update = Estimate(looks=1, installs=0, changes=1, new_accounts=0, calls=2, seconds=0.2, overwrites=1)
    assert update.calls_in_words == "1 look, at most 1 change of what is there"


def test_an_update_is_checked_without_cyclr_too() -> None:
    text = "account_id,connector,api_key,account_name\nacme,Desk,,\nbeta,Desk,k,Beta\ngamma,Desk,k,\n"
    checked = check_offline(source(text), RunOptions(operation="update"))
    assert [str(problem) for problem in checked.problems] == [
        "row 2: it names nothing to change: expected a credential, a property or a description",
        "row 3, column account_name: an update creates no account: empty the cell",
    ]
    assert checked.planned == 1
