"""Answers that say for sure that Cyclr did not act, and what each of them leads to."""

from dataclasses import replace

import pytest

from tests.end_to_end.conftest import MakeRig
from tests.end_to_end.harness import API_KEY, CRM, MAIL, MAIL_PARAMETERS, OAUTH, Rig, make_older, row
from worker.domain.states import PauseReason
from worker.simulator import faults
from worker.simulator.catalogue import Parameter, method
from worker.simulator.faults import Acts
from worker.simulator.world import Install
from worker.store.job_states import resume_job

both_name_checks = pytest.mark.parametrize(
    "name_check", [True, False], ids=["name-check-on", "name-check-off"]
)

DENIED = "Authorization has been denied for this request."


def put_there(rig: Rig, account_id: str, connector: str, name: str, api_key: str = "") -> int:
    """Installed by somebody else. The id of the account connector."""
    wanted = Install(name=name, auth_value=api_key or None, properties=[("Region", "EU")])

    def put(world: object) -> int:
        return world.add_installed(account_id, world.find_release(connector), wanted).id

    return rig.simulator.call(put)


def failed(rig: Rig, account_id: str) -> tuple[str, str, int | None, bool]:
    item = rig.item(account_id)
    return item.state, item.code, item.http_status, item.must_look


# 200


def test_a_200_with_an_id_and_our_name_is_installed(rig: Rig) -> None:
    job_id = rig.load(
        row("acme", description="Main mailbox"),
        row("globex", connector=CRM, api_key="", property_Region="", property_WebhookSecret=""),
    )
    job = rig.run(job_id)
    assert (job.state, job.installed, job.tried) == ("completed", 2, 2)
    assert rig.kinds("acme") == ["install"]
    [call] = rig.calls("acme")
    assert (call.name, call.property_names) == (MAIL, ("Region", "WebhookSecret"))
    item = rig.item("acme")
    assert (item.outcome, item.attempts, item.is_authenticated, item.message) == ("created", 1, True, None)
    crm = rig.item("globex")
    assert (crm.is_authenticated, crm.message) == (False, "waits for the customer's authorisation")
    assert job.to_authorise == 1


def test_a_credential_that_is_given_later_is_not_waited_for_from_a_customer(rig: Rig) -> None:
    job = rig.run(rig.load(row("acme", api_key="", authentication="later")))
    assert (job.state, job.installed, job.to_authorise) == ("completed", 1, 0)
    item = rig.item("acme")
    message = "waits for its credential, which is given at Cyclr"
    assert (item.is_authenticated, item.message) == (False, message)


# 400, 403


@both_name_checks
@pytest.mark.parametrize("status", [400, 403])
def test_a_refusal_is_final_and_says_why_in_cyclrs_words(rig: Rig, status: int) -> None:
    job_id = rig.load(row("acme"), row("globex"))
    rig.fault(faults.refused(status, "The plan is used up."), call="install", account_id="acme")
    job = rig.run(job_id)
    assert (job.state, job.installed, job.failed) == ("completed", 1, 1)
    assert rig.kinds("acme") == ["install"]
    assert failed(rig, "acme") == ("failed", "refused", status, False)
    assert rig.item("acme").message == "The plan is used up."
    assert rig.verdicts("acme") == [("give_up", "refused", status)]


def test_every_other_4xx_is_a_refusal_too(make_rig: MakeRig) -> None:
    statuses = (402, 405, 406, 410, 411, 412, 413, 415, 422, 451)
    rig = make_rig(*map(str, statuses))
    job_id = rig.load(*(row(str(status)) for status in statuses))
    for status in statuses:
        rig.fault(faults.refused(status, "No."), call="install", account_id=str(status))
    assert rig.run(job_id).failed == 10
    for status in statuses:
        assert rig.kinds(str(status)) == ["install"]
        assert failed(rig, str(status)) == ("failed", "refused", status, False)


def test_a_message_that_repeats_a_secret_is_stored_without_it(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    fault = faults.refused(400, "The key key-of-acme-5f1c is not known.")
    rig.fault(fault, call="install", account_id="acme")
    rig.run(job_id)
    assert "key-of-acme" not in rig.item("acme").message


# 3xx


def test_a_redirect_pauses_the_job_and_fails_no_row(rig: Rig) -> None:
    job_id = rig.load(row("acme"), row("globex"))
    rig.fault(faults.redirected("https://login.example.com/"), call="install")
    job = rig.run(job_id)
    assert (job.state, job.pause_reason, job.failed) == ("paused", PauseReason.WRONG_API_URL, 0)
    rig.heal()
    assert resume_job(rig.engine, job_id, first=None)
    assert rig.run(job_id).installed == 2
    assert rig.item("acme").attempts == 1


@both_name_checks
def test_what_was_done_and_answered_with_a_redirect_is_not_done_again(make_rig: MakeRig) -> None:
    rig = make_rig()
    job_id = rig.load(row("acme"))
    rig.fault(replace(faults.redirected("/done", 303), acts=Acts.FIRST), call="install")
    assert rig.run(job_id).pause_reason == PauseReason.WRONG_API_URL
    rig.heal()
    assert resume_job(rig.engine, job_id, first=None)
    assert rig.run(job_id).installed == 1
    assert rig.item("acme").outcome == "recovered"
    assert rig.kinds("acme").count("install") == 1


# 401


@both_name_checks
def test_a_revoked_token_is_replaced_once_for_all_who_met_it(make_rig: MakeRig) -> None:
    accounts = [f"account-{n}" for n in range(20)]
    rig = make_rig(*accounts)
    job_id = rig.load(*(row(account) for account in accounts))
    rig.simulator.call(lambda world: world.tokens.revoke_all())
    job = rig.run(job_id)
    assert (job.installed, job.failed) == (20, 0)
    assert rig.kinds().count("token") == 1
    assert {rig.item(account).attempts for account in accounts} == {1}


def test_bad_partner_credentials_pause_the_job_and_fail_no_row(rig: Rig) -> None:
    job_id = rig.load(*(row(account) for account in ("acme", "globex", "initech", "umbrella")))
    rig.switch("reject_credentials", True)
    rig.simulator.call(lambda world: world.tokens.revoke_all())
    job = rig.run(job_id)
    assert (job.state, job.pause_reason) == ("paused", PauseReason.PARTNER_CREDENTIALS)
    assert (job.failed, job.installed) == (0, 0)
    rig.switch("reject_credentials", False)
    assert resume_job(rig.engine, job_id, first=None)
    job = rig.run(job_id)
    assert (job.state, job.installed) == ("completed", 4)


def test_an_account_that_cyclr_does_not_know_is_given_up(rig: Rig) -> None:
    job_id = rig.load(row("acme"), row("globex"))
    rig.simulator.call(lambda world: world.delete_account(world.get_account("acme")))
    assert rig.run(job_id).failed == 1
    assert rig.kinds("acme") == ["install", "account"]
    assert failed(rig, "acme") == ("failed", "account_unknown", 404, False)
    assert rig.item("acme").message == "Cyclr has no account acme"
    assert rig.kinds().count("token") == 0


def test_an_account_whose_calls_are_refused_is_given_up_after_one_more_try(rig: Rig) -> None:
    job_id = rig.load(row("acme"), row("globex"))
    rig.fault(faults.refused(401, DENIED), call="install", account_id="acme")
    job = rig.run(job_id)
    assert (job.installed, job.failed) == (1, 1)
    assert rig.kinds("acme") == ["install", "account", "install", "account"]
    assert failed(rig, "acme") == ("failed", "account_refused", 401, False)
    assert rig.kinds().count("token") == 0


@both_name_checks
def test_a_401_that_passes_is_followed_by_one_install(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    rig.fault(faults.refused(401, DENIED), call="install", account_id="acme", count=1)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["install", "account", "install"]
    assert rig.item("acme").attempts == 1


# The Name is in use. Where Cyclr does not check names, the fault says so in its place.


def test_a_name_in_use_by_the_same_connector_with_another_key_is_left_alone(rig: Rig) -> None:
    there = put_there(rig, "acme", MAIL, MAIL, "another-key")
    job_id = rig.load(row("acme"))
    assert rig.run(job_id).failed == 1
    assert rig.kinds("acme") == ["install", "look"]
    item = rig.item("acme")
    assert (item.code, item.account_connector_id, item.attempts) == ("differs", there, 1)
    assert item.differs == ["api_key"]
    assert item.message == "api_key differs and was left alone: nothing was changed"
    assert rig.installs("acme") == 0


def test_in_a_job_of_the_version_before_it_is_adopted(rig: Rig) -> None:
    there = put_there(rig, "acme", MAIL, MAIL, "another-key")
    job_id = rig.load(row("acme"))
    make_older(rig, look_first=False)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["install", "look"]
    item = rig.item("acme")
    assert (item.outcome, item.account_connector_id, item.attempts) == ("adopted", there, 1)
    assert item.differs == ["api_key", "property.WebhookSecret"]
    assert item.message == (
        "already installed; api_key and property.WebhookSecret differ and were not changed"
    )
    assert rig.installs("acme") == 0


def test_a_name_in_use_in_another_spelling_is_filled_in_too(rig: Rig) -> None:
    put_there(rig, "acme", MAIL, "NORTHWIND mail", "key-of-acme-5f1c")
    job_id = rig.load(row("acme"))
    assert rig.run(job_id).installed == 1
    assert rig.item("acme").outcome == "filled_in"


def test_a_name_in_use_by_an_older_release_of_the_connector_is_filled_in(rig: Rig) -> None:
    put_there(rig, "acme", MAIL, MAIL, "key-of-acme-5f1c")
    rig.simulator.call(lambda world: world.publish(MAIL))
    job_id = rig.load(row("acme"))
    assert rig.run(job_id).installed == 1
    assert rig.item("acme").outcome == "filled_in"


def test_a_name_in_use_by_another_connector_is_given_up(rig: Rig) -> None:
    put_there(rig, "acme", CRM, MAIL)
    job_id = rig.load(row("acme"))
    assert rig.run(job_id).failed == 1
    assert rig.kinds("acme") == ["install", "look"]
    assert failed(rig, "acme") == ("failed", "name_in_use", None, False)
    assert rig.item("acme").message == (
        "the Name 'Northwind Mail' is taken in this account by another connector, 'Harbour CRM'"
    )


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_a_name_in_use_that_no_look_shows_is_given_up(rig: Rig, status: int) -> None:
    job_id = rig.load(row("acme"))
    message = "Account connector name 'Northwind Mail' is in use."
    rig.fault(faults.refused(status, message), call="install", account_id="acme")
    assert rig.run(job_id).failed == 1
    assert rig.kinds("acme") == ["install", "look"]
    assert failed(rig, "acme") == ("failed", "name_in_use", status, False)
    assert rig.item("acme").message == message


@both_name_checks
def test_a_name_in_use_after_a_lost_answer_is_recovered(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    rig.fault(faults.server_error(504), call="install", account_id="acme", count=1)
    # As if the first install had come through between the look and the second one.
    in_use = faults.refused(400, "Account connector name 'Northwind Mail' is in use.")
    rig.fault(replace(in_use, acts=Acts.FIRST), call="install", account_id="acme", count=1)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["install", "look", "install", "look"]
    item = rig.item("acme")
    assert (item.outcome, item.attempts) == ("recovered", 2)


def test_a_name_in_use_is_looked_for_again_where_the_look_fails(rig: Rig) -> None:
    put_there(rig, "acme", MAIL, MAIL, "key-of-acme-5f1c")
    job_id = rig.load(row("acme"))
    rig.fault(faults.server_error(500), call="look", account_id="acme", count=1)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["install", "look", "look", "add_property"]
    item = rig.item("acme")
    assert (item.outcome, item.attempts, item.maybe_sent) == ("filled_in", 2, False)


def test_a_name_in_use_in_an_account_that_refuses_looks_may_be_ours(rig: Rig) -> None:
    put_there(rig, "acme", MAIL, MAIL, "key-of-acme-5f1c")
    job_id = rig.load(row("acme"))
    rig.fault(faults.refused(403, "No."), call="look", account_id="acme")
    assert rig.run(job_id).failed == 1
    assert rig.kinds("acme") == ["install", "look"]
    assert failed(rig, "acme") == ("failed", "outcome_unknown", 403, True)


# 404


@both_name_checks
def test_a_404_for_an_account_that_is_gone_is_given_up(rig: Rig) -> None:
    job_id = rig.load(row("acme"), row("globex"))
    rig.fault(faults.refused(404, "Not found."), call="install", account_id="acme")
    rig.fault(faults.refused(404, "Not found."), call="account", account_id="acme")
    assert rig.run(job_id).failed == 1
    assert rig.kinds("acme") == ["install", "account"]
    assert failed(rig, "acme") == ("failed", "account_unknown", 404, False)


def test_a_404_for_a_connector_that_the_catalogue_still_lists_is_given_up(rig: Rig) -> None:
    job_id = rig.load(row("acme"), row("globex"))
    rig.fault(faults.refused(404, "Not found."), call="install", account_id="acme")
    job = rig.run(job_id)
    assert (job.state, job.installed, job.failed) == ("completed", 1, 1)
    assert rig.kinds("acme") == ["install", "account", "connectors"]
    assert failed(rig, "acme") == ("failed", "connector_gone", 404, False)


@both_name_checks
def test_a_new_release_that_the_rows_fit_is_installed_instead(make_rig: MakeRig) -> None:
    accounts = [f"account-{n}" for n in range(10)]
    rig = make_rig(*accounts)
    job_id = rig.load(*(row(account) for account in accounts))
    new_id = rig.simulator.call(lambda world: world.publish(MAIL).id)
    job = rig.run(job_id)
    assert (job.state, job.installed) == ("completed", 10)
    assert rig.kinds().count("connectors") == 1
    for account in accounts:
        assert rig.installs(account) == 1
        assert rig.calls(account)[-1].connector == str(new_id)
        assert rig.item(account).attempts == 1


def test_a_new_release_with_new_ids_of_its_methods_is_installed_with_those(rig: Rig) -> None:
    job_id = rig.load(row("acme", authentication="ApiKey"))
    renamed = method("ApiKey", seed="another release")
    assert renamed.id != API_KEY.id
    rig.simulator.call(lambda world: world.publish(MAIL, methods=[renamed]))
    assert rig.run(job_id).installed == 1


@pytest.mark.parametrize(
    "change",
    [
        {"methods": [OAUTH]},
        {"parameters": [Parameter(1, "Zone", "Zone"), *MAIL_PARAMETERS[1:]]},
    ],
    ids=["method-gone", "property-gone"],
)
def test_a_new_release_that_the_rows_do_not_fit_pauses_the_job(
    rig: Rig, change: dict[str, list[object]]
) -> None:
    job_id = rig.load(row("acme"), row("globex"))
    rig.simulator.call(lambda world: world.publish(MAIL, **change))
    job = rig.run(job_id)
    assert (job.state, job.pause_reason) == ("paused", PauseReason.RELEASE_CHANGED)
    assert (job.installed, job.failed) == (0, 0)
    rig.simulator.call(lambda world: world.publish(MAIL, methods=[API_KEY], parameters=MAIL_PARAMETERS))
    assert resume_job(rig.engine, job_id, first=None)
    assert rig.run(job_id).installed == 2


def test_a_connector_that_is_gone_pauses_the_job(rig: Rig) -> None:
    job_id = rig.load(row("acme"), row("globex"))
    rig.simulator.call(lambda world: world.releases.pop(world.find_release(MAIL).id))
    job = rig.run(job_id)
    assert (job.state, job.pause_reason, job.failed) == ("paused", PauseReason.RELEASE_CHANGED, 0)


def test_a_resumed_job_asks_for_its_connectors_again(rig: Rig) -> None:
    job_id = rig.load(row("acme"), row("globex"), first=1)
    rig.run(job_id)
    new_id = rig.simulator.call(lambda world: world.publish(MAIL).id)
    assert resume_job(rig.engine, job_id, first=None)
    assert rig.run(job_id).installed == 2
    assert rig.kinds() == ["install", "connectors", "install"]
    assert rig.calls("globex")[-1].connector == str(new_id)
