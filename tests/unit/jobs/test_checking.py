from tests.unit.intake.making import OPTIONS, source
from worker.domain.rows import Warning_
from worker.jobs.checking import AccountsToCreate, check_offline


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
