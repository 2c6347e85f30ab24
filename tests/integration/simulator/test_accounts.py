from typing import Any

import pytest

from tests.integration.simulator.conftest import Cyclr


def created(cyclr: Cyclr, **body: Any) -> dict[str, Any]:
    answer = cyclr.call("POST", "/accounts", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_new_account_takes_the_id_given_or_gets_a_guid(cyclr: Cyclr) -> None:
    assert created(cyclr, Id="snjallgogn.is", Name="Snjallgögn")["Id"] == "snjallgogn.is"
    assert len(created(cyclr, Name="No id")["Id"]) == 36
    assert cyclr.get("/accounts/snjallgogn.is").json()["Name"] == "Snjallgögn"


def test_an_account_id_with_a_slash_and_a_space_is_found_by_its_encoded_path(cyclr: Cyclr) -> None:
    created(cyclr, Id="a/b c%d", Name="Odd")
    assert cyclr.get("/accounts/a%2Fb%20c%25d").json()["Id"] == "a/b c%d"
    assert cyclr.ledger.calls_of("account", "a/b c%d")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"Id": "acme", "Name": "Again"}, "ID already in use"),
        ({"Id": "new"}, "Name is required"),
        ({"Id": "new", "Name": ""}, "Name is required"),
        (
            {"Name": "N", "StepDataSuccessRetentionHours": -10},
            "StepDataSuccessRetentionHours (-10): must be non negative",
        ),
        (
            {"Name": "N", "StepDataErroredRetentionHours": "-10"},
            "StepDataErroredRetentionHours (-10): must be non negative",
        ),
        (
            {"Name": "N", "TransactionErrorWebhookEnabled": True},
            "Transaction Error Webhook enabled: Transaction Error Webhook URL must be defined",
        ),
        (
            {"Name": "N", "TransactionErrorWebhookEnabled": "true", "TransactionErrorWebhookUrl": None},
            "Transaction Error Webhook enabled: Transaction Error Webhook URL must be defined",
        ),
        (
            {"Name": "N", "TransactionErrorWebhookEnabled": True, "TransactionErrorWebhookUrl": " "},
            "https://  is not a valid URL",
        ),
    ],
)
def test_an_account_is_refused_with_cyclrs_words(cyclr: Cyclr, body: dict[str, Any], message: str) -> None:
    answer = cyclr.call("POST", "/accounts", json=body)
    assert (answer.status_code, answer.json()) == (400, {"Message": message})
    assert cyclr.ledger.effects == []


def test_an_account_says_all_that_is_known_of_it(cyclr: Cyclr) -> None:
    account = created(cyclr, Id="new", Name="New")
    assert list(account) == [
        "Id", "Name", "Description", "CreatedDate", "Timezone", "AuditInfo", "TaskAuditInfo", "NextBillDateUtc",
        "StepDataSuccessRetentionHours", "StepDataErroredRetentionHours", "TransactionErrorWebhookEnabled",
        "TransactionErrorWebhookUrl", "TransactionErrorWebhookIncludeWarnings",
    ]  # fmt: skip
    assert account["Timezone"] != ""
    assert account["NextBillDateUtc"].endswith("0Z")
    sent = {"NextBillDateUtc": "2031-02-03T00:00:00Z", "AuditInfo": "a", "TaskAuditInfo": "t"}
    assert sent.items() <= created(cyclr, Id="more", Name="More", **sent).items()


def test_a_put_changes_only_what_it_names(cyclr: Cyclr) -> None:
    body = {"Id": "p", "Name": "Before", "Description": "kept", "StepDataSuccessRetentionHours": 24}
    created(cyclr, **body, TransactionErrorWebhookEnabled=True, TransactionErrorWebhookUrl="hooks.example/x")
    changed = cyclr.call("PUT", "/accounts/p", json={"Name": "After"}).json()
    assert changed["Name"] == "After"
    assert changed["Description"] == "kept"
    assert changed["StepDataSuccessRetentionHours"] == 24
    assert changed["TransactionErrorWebhookUrl"] == "https://hooks.example/x"
    cleared = cyclr.call("PUT", "/accounts/p", json={"StepDataSuccessRetentionHours": None}).json()
    assert cleared["StepDataSuccessRetentionHours"] is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"StepDataSuccessRetentionHours": -1}, "StepDataSuccessRetentionHours (-1): must be non negative"),
        (
            {"TransactionErrorWebhookEnabled": True, "TransactionErrorWebhookUrl": "   "},
            "https://    is not a valid URL",
        ),
    ],
)
def test_a_put_is_refused_in_the_words_of_a_post(cyclr: Cyclr, body: dict[str, Any], message: str) -> None:
    answer = cyclr.call("PUT", "/accounts/acme", json=body)
    assert (answer.status_code, answer.text) == (400, f'{{"Message":"{message}"}}')


def test_a_put_ignores_what_is_no_number_and_an_unknown_account_is_404(cyclr: Cyclr) -> None:
    created(cyclr, Id="p", Name="P", StepDataErroredRetentionHours=24)
    for hours, kept in (("abc", 24), (745, 744), (None, None)):
        answer = cyclr.call("PUT", "/accounts/p", json={"StepDataErroredRetentionHours": hours})
        assert answer.json()["StepDataErroredRetentionHours"] == kept
    assert cyclr.call("PUT", "/accounts/nobody", json={}).status_code == 404


def test_accounts_are_listed_by_page_and_backwards_on_request(cyclr: Cyclr) -> None:
    listed = [a["Id"] for a in cyclr.get("/accounts", page=1, pageSize=100, sortOrderAsc="true").json()]
    assert listed == ["acme", "globex"]
    backwards = [a["Id"] for a in cyclr.get("/accounts", sortOrderAsc="false").json()]
    assert backwards == ["globex", "acme"]


def test_an_account_says_how_many_tasks_it_used(cyclr: Cyclr) -> None:
    usage = cyclr.get("/accounts/acme/usage").json()
    assert list(usage) == ["Id", "TasksUsed", "StartTime", "EndTime"]
    assert (usage["Id"], usage["TasksUsed"]) == ("acme", 0)


@pytest.mark.parametrize("path", ["usage", "users", "subaccounts"])
def test_what_an_unknown_account_has_is_404(cyclr: Cyclr, path: str) -> None:
    assert cyclr.get(f"/accounts/nobody/{path}").status_code == 404


def test_a_put_judges_the_webhook_by_its_own_body_and_a_refusal_changes_nothing(cyclr: Cyclr) -> None:
    created(cyclr, Id="p", Name="P", TransactionErrorWebhookUrl="https://stored.example")
    answer = cyclr.call("PUT", "/accounts/p", json={"Name": "Q", "TransactionErrorWebhookEnabled": True})
    assert answer.status_code == 400
    assert cyclr.get("/accounts/p").json()["Name"] == "P"


@pytest.mark.parametrize(("hours", "stored"), [(745, 744), (744, 744), ("12", 12), ("abc", None)])
def test_retention_hours_are_capped_and_what_is_no_number_is_ignored(
    cyclr: Cyclr, hours: object, stored: int | None
) -> None:
    assert (
        created(cyclr, Name="N", StepDataErroredRetentionHours=hours)["StepDataErroredRetentionHours"]
        == stored
    )


def test_a_deleted_account_is_404_at_the_partner_level_and_401_in_the_header(cyclr: Cyclr) -> None:
    assert cyclr.call("DELETE", "/accounts/acme").status_code == 200
    assert cyclr.call("DELETE", "/accounts/acme").status_code == 404
    assert cyclr.get("/accounts/acme", None).status_code == 404
    assert cyclr.get("/account/connectors", "acme").status_code == 401
    assert [account["Id"] for account in cyclr.get("/accounts").json()] == ["globex"]


def test_a_404_has_a_message_or_on_request_no_body(cyclr: Cyclr) -> None:
    assert cyclr.get("/accounts/nobody").json() == {"Message": "The account nobody was not found."}
    cyclr.control("switches", has_not_found_message=False)
    answer = cyclr.get("/accounts/nobody")
    assert (answer.status_code, answer.content) == (404, b"")


def test_sub_accounts_are_listed_with_their_parent_only(cyclr: Cyclr) -> None:
    created(cyclr, Id="child", Name="Child", ParentAccountId="acme")
    assert [a["Id"] for a in cyclr.get("/accounts/acme/subaccounts").json()] == ["child"]
    assert [a["Id"] for a in cyclr.get("/accounts").json()] == ["acme", "globex"]
    assert cyclr.get("/accounts/child").status_code == 200


def test_users_are_added_removed_and_given_passwords(cyclr: Cyclr) -> None:
    user = {"UserName": "jo", "Password": "made-up"}
    assert cyclr.call("PUT", "/accounts/acme/users", json=user).status_code == 200
    assert cyclr.call("PUT", "/users", json=user).status_code == 200
    assert cyclr.call("PUT", "/users", json={"UserName": "nobody"}).status_code == 404
    assert cyclr.call("DELETE", "/accounts/acme/users", json=user).status_code == 200
    assert cyclr.get("/accounts/acme/users").json() == []


def test_suspending_an_account_is_no_path_of_the_api(cyclr: Cyclr) -> None:
    assert cyclr.call("POST", "/accounts/acme/suspend").status_code == 404
