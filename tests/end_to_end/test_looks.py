"""Looking before installing: when it is done, what counts as absent, and what is said where no look succeeds."""

import csv
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.end_to_end.conftest import MakeRig
from tests.end_to_end.harness import CRM, MAIL, Rig, make_older, row
from worker.intake.findings import Rejected
from worker.simulator import faults
from worker.simulator.world import Install
from worker.store.job_states import resume_job
from worker.store.tables import items

both_name_checks = pytest.mark.parametrize(
    "name_check", [True, False], ids=["name-check-on", "name-check-off"]
)


def put_there(rig: Rig, account_id: str, *names: str, connector: str = CRM) -> None:
    def put(world: object) -> None:
        for name in names:
            world.add_installed(account_id, world.find_release(connector), Install(name=name))

    rig.simulator.call(put)


def lose_the_answer(rig: Rig, *, after_effect: bool) -> None:
    rig.fault(faults.server_error(500, after_effect=after_effect), call="install", account_id="acme", count=1)


# Pages.


@both_name_checks
@pytest.mark.parametrize("total_pages", [True, False], ids=["total-pages", "no-total-pages"])
@pytest.mark.parametrize("is_there", [True, False], ids=["there", "absent"])
def test_reads_all_pages_where_the_server_gives_fewer_than_asked(
    rig: Rig, total_pages: bool, is_there: bool
) -> None:
    put_there(rig, "acme", *(f"CRM {n}" for n in range(7)))
    rig.switch("max_page_size", 3)
    rig.switch("total_pages", total_pages)
    job_id = rig.load(row("acme"))
    lose_the_answer(rig, after_effect=is_there)
    assert rig.run(job_id).installed == 1
    assert rig.item("acme").outcome == ("recovered" if is_there else "created")
    assert rig.kinds("acme").count("install") == (1 if is_there else 2)


@both_name_checks
def test_reads_twice_before_it_calls_a_list_of_several_pages_absent(rig: Rig) -> None:
    put_there(rig, "acme", *(f"CRM {n}" for n in range(5)))
    rig.switch("max_page_size", 3)
    job_id = rig.load(row("acme"))
    lose_the_answer(rig, after_effect=False)
    assert rig.run(job_id).installed == 1
    pages = [call.page for call in rig.calls("acme") if call.kind == "look"]
    assert pages == ["1", "2", "1", "2"]


@both_name_checks
def test_finds_what_slips_between_two_pages_that_shift(rig: Rig) -> None:
    put_there(rig, "acme", *(f"CRM {n}" for n in range(3)))
    rig.switch("max_page_size", 3)
    job_id = rig.load(row("acme"))
    lose_the_answer(rig, after_effect=True)
    rig.switch("page_shifts", 3)
    assert rig.run(job_id).installed == 1
    assert rig.item("acme").outcome == "recovered"
    assert rig.kinds("acme").count("install") == 1


def test_a_list_with_an_entry_that_cannot_be_read_is_no_absence(make_rig: MakeRig) -> None:
    rig = make_rig(cyclr_max_attempts=2)
    job_id = rig.load(row("acme"))
    lose_the_answer(rig, after_effect=False)
    rig.fault(faults.garbage("[{}]"), call="look", account_id="acme")
    assert rig.run(job_id).failed == 1
    assert rig.item("acme").code == "outcome_unknown"
    assert rig.kinds("acme").count("install") == 1


# Where looks fail for good.


@both_name_checks
@pytest.mark.parametrize("after_effect", [False, True], ids=["not-applied", "applied"])
def test_where_no_look_succeeds_the_row_may_be_installed(make_rig: MakeRig, after_effect: bool) -> None:
    rig = make_rig(cyclr_max_attempts=2)
    job_id = rig.load(row("acme"), row("globex"))
    lose_the_answer(rig, after_effect=after_effect)
    rig.fault(faults.server_error(500), call="look", account_id="acme")
    job = rig.run(job_id)
    assert (job.state, job.installed, job.failed) == ("completed", 1, 1)
    assert rig.kinds("acme") == ["install", "look", "look", "look"]
    item = rig.item("acme")
    assert (item.code, item.must_look, item.can_retry_help) == ("outcome_unknown", True, True)
    assert item.message.startswith("may be installed, and no look at the account succeeded in 4 attempts: ")


@pytest.mark.parametrize("status", [400, 403])
def test_where_looks_are_refused_the_row_may_be_installed(rig: Rig, status: int) -> None:
    job_id = rig.load(row("acme"))
    lose_the_answer(rig, after_effect=True)
    rig.fault(faults.refused(status, "No."), call="look", account_id="acme")
    assert rig.run(job_id).failed == 1
    assert rig.kinds("acme") == ["install", "look"]
    item = rig.item("acme")
    assert (item.code, item.http_status, item.must_look) == ("outcome_unknown", status, True)
    assert item.message == ("may be installed: Cyclr refused the look at what the account has installed: No.")


@pytest.mark.parametrize("status", [401, 404])
def test_an_account_that_is_deleted_before_the_look_holds_nothing(rig: Rig, status: int) -> None:
    job_id = rig.load(row("acme"))
    lose_the_answer(rig, after_effect=False)
    rig.fault(faults.refused(status, "Gone."), call="look", account_id="acme")
    rig.fault(faults.refused(404, "Gone."), call="account", account_id="acme")
    assert rig.run(job_id).failed == 1
    assert rig.kinds("acme") == ["install", "look", "account"]
    item = rig.item("acme")
    assert (item.code, item.must_look) == ("account_unknown", False)


@both_name_checks
def test_installs_that_get_no_answer_end_with_a_look_that_found_nothing(make_rig: MakeRig) -> None:
    rig = make_rig(cyclr_max_attempts=2)
    job_id = rig.load(row("acme"), row("globex"))
    rig.fault(faults.server_error(500), call="install", account_id="acme")
    assert rig.run(job_id).failed == 1
    assert rig.kinds("acme") == ["install", "look", "install", "look"]
    item = rig.item("acme")
    assert (item.code, item.must_look, item.can_retry_help) == ("no_answer", False, True)
    assert item.message == (
        "not installed: Cyclr gave no clear answer in 2 attempts, and a look found nothing"
    )


def test_a_look_held_up_by_429_and_503_goes_on_later(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    lose_the_answer(rig, after_effect=True)
    rig.fault(faults.busy(1), call="look", account_id="acme", count=1)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["install", "look", "look"]
    item = rig.item("acme")
    assert (item.outcome, item.attempts) == ("recovered", 2)


# Rows that were tried before.


@both_name_checks
def test_a_finished_file_handed_in_again_changes_nothing(rig: Rig) -> None:
    accounts = ("acme", "globex", "initech", "umbrella")
    rig.run(rig.load(*(row(account) for account in accounts)))
    job = rig.run(rig.load(*(row(account) for account in accounts)))
    assert (job.state, job.installed) == ("completed", 4)
    assert rig.kinds() == ["look"] * 4
    for account in accounts:
        item = rig.item(account)
        assert (item.outcome, item.attempts, item.message) == ("unchanged", 1, None)
        assert rig.installs(account) == 1


@both_name_checks
def test_a_failed_row_handed_in_again_is_looked_for_first(rig: Rig) -> None:
    rig.fault(faults.refused(403, "No."), call="install", account_id="acme")
    rig.run(rig.load(row("acme")))
    rig.heal()
    assert rig.run(rig.load(row("acme"))).installed == 1
    assert rig.kinds("acme") == ["look", "install"]
    assert rig.item("acme").outcome == "created"


def test_a_row_that_is_still_to_be_done_is_refused_in_a_second_file(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    with pytest.raises(Rejected, match=f"still to be done by job {job_id}: "):
        rig.load(row("acme"))
    rig.run(job_id)


@both_name_checks
def test_a_result_file_handed_in_again_does_what_is_left_with_the_secrets_we_hold(rig: Rig) -> None:
    rig.fault(faults.refused(403, "No."), call="install", account_id="globex")
    first_job = rig.load(row("acme"), row("globex"))
    rig.run(first_job)
    sent = {call.account_id: call.auth_value_sha256 for call in rig.calls() if call.kind == "install"}
    rig.heal()
    job_id = rig.load(file=rig.result_file(first_job))
    job = rig.run(job_id)
    assert (job.total, job.installed, job.skipped) == (1, 1, 1)
    assert rig.kinds() == ["look", "install"]
    assert rig.calls("globex")[1].auth_value_sha256 == sent["globex"]
    states = {line["account_id"]: line["_state"] for line in read_lines(rig.result_file(job_id))}
    assert states == {"acme": "done", "globex": "done"}


def test_a_result_file_whose_secrets_are_wiped_says_which_cell_to_fill_in(rig: Rig) -> None:
    rig.fault(faults.refused(403, "No."), call="install", account_id="acme")
    first_job = rig.load(row("acme"))
    rig.run(first_job)
    with rig.engine.begin() as connection:
        connection.execute(update(items).values(sealed=None))
    with pytest.raises(Rejected, match="row 2, column api_key: the credential is no longer kept, fill it in"):
        rig.load(file=rig.result_file(first_job))


def read_lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


# Looking because a person asked for it.


@both_name_checks
def test_a_job_of_the_version_before_adopts_what_is_there_and_sends_nothing_for_it(rig: Rig) -> None:
    put_there(rig, "acme", MAIL, connector=MAIL)
    job_id = rig.load(row("acme"), row("globex"))
    make_older(rig, look_first=True)
    assert rig.run(job_id).installed == 2
    assert rig.kinds("acme") == ["look"]
    assert rig.kinds("globex") == ["look", "install"]
    assert rig.item("acme").outcome == "adopted"
    assert rig.installs("acme") == 0


@both_name_checks
def test_if_present_skip_leaves_the_connector_under_another_name_alone(rig: Rig) -> None:
    put_there(rig, "acme", "Old mail", "Older mail", connector=MAIL)
    put_there(rig, "globex", "Old CRM", connector=CRM)
    job_id = rig.load(row("acme"), row("globex"))
    make_older(rig, look_first=False, if_present="skip")
    assert rig.run(job_id).installed == 2
    item = rig.item("acme")
    assert (item.outcome, item.code, item.account_connector_id) == (
        "adopted",
        "present_under_other_name",
        None,
    )
    assert item.message == (
        "left alone: the account has this connector under the Name 'Old mail', 'Older mail'"
    )
    assert rig.kinds("acme") == ["look"]
    assert rig.installs("globex") == 1


# Accounts that are created first.


def new_account_row(account_id: str, **cells: str) -> dict[str, str]:
    return row(account_id, account_name=f"Name of {account_id}", **cells)


@both_name_checks
def test_an_account_is_created_once_for_several_rows(rig: Rig) -> None:
    no_secrets = {"api_key": "", "property_Region": "", "property_WebhookSecret": ""}
    job_id = rig.load(
        new_account_row("stark"),
        new_account_row("stark", name="Second mailbox"),
        new_account_row("stark", connector=CRM, **no_secrets),
    )
    assert rig.run(job_id).installed == 3
    assert len(rig.ledger.effects_of("account_created", "stark")) == 1
    assert rig.installs("stark") == 3


@both_name_checks
@pytest.mark.parametrize(
    "fault",
    [
        faults.server_error(500),
        faults.server_error(500, after_effect=True),
        faults.reset(after_effect=True),
        faults.cut_body(),
        faults.garbage("{}"),
    ],
    ids=["not-applied", "applied", "applied-reset", "applied-cut", "applied-garbage"],
)
def test_a_lost_answer_to_the_creation_of_an_account_does_no_harm(rig: Rig, fault: faults.Fault) -> None:
    job_id = rig.load(new_account_row("stark"))
    rig.fault(fault, call="create_account", count=1)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("stark") == ["create_account", "create_account", "install"]
    assert len(rig.ledger.effects_of("account_created", "stark")) == 1
    item = rig.item("stark")
    assert (item.outcome, item.account_exists, item.must_look) == ("created", True, False)


@pytest.mark.parametrize("after_effect", [False, True], ids=["not-applied", "applied"])
def test_an_account_whose_creation_never_gets_an_answer_is_looked_for_at_the_end(
    make_rig: MakeRig, after_effect: bool
) -> None:
    rig = make_rig(cyclr_max_attempts=2)
    job_id = rig.load(new_account_row("stark"), row("acme"))
    rig.fault(faults.cut_body() if after_effect else faults.server_error(500), call="create_account")
    # What Cyclr answers where the account is there already gets lost too.
    rig.fault(faults.server_error(500), call="create_account")
    assert rig.run(job_id).failed == 1
    looks = ["account", "look"] if after_effect else ["account"]
    assert rig.kinds("stark") == ["create_account", "create_account", *looks]
    item = rig.item("stark")
    assert (item.code, item.must_look, item.can_retry_help) == ("no_answer", False, True)
    assert item.message == (
        "not installed: Cyclr gave no clear answer in 2 attempts, and a look found nothing"
    )


def test_an_account_that_this_row_made_is_said_to_be_new(rig: Rig) -> None:
    job_id = rig.load(new_account_row("stark"), new_account_row("acme"))
    rig.run(job_id)
    assert rig.item("stark").account_created
    assert not rig.item("acme").account_created
    assert rig.kinds("acme") == ["install"]


def test_an_account_that_cyclr_refuses_to_create_fails_the_row(rig: Rig) -> None:
    job_id = rig.load(new_account_row("stark"), row("acme"))
    rig.fault(faults.refused(400, "Timezone is unknown."), call="create_account")
    assert rig.run(job_id).failed == 1
    item = rig.item("stark")
    assert (item.code, item.http_status) == ("refused", 400)
    assert item.message == "Cyclr refused the creation of the account: Timezone is unknown."


def test_accounts_are_created_once_their_job_is_resumed(rig: Rig) -> None:
    # A resumed job asks for its connectors again, in the name of an account that must exist by then.
    job_id = rig.load(row("acme"), new_account_row("stark"), first=1)
    rig.run(job_id)
    assert resume_job(rig.engine, job_id, first=None)
    assert rig.run(job_id).installed == 2
    assert rig.kinds("stark") == ["create_account", "connectors", "install"]
