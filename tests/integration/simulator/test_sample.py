import base64
import csv
import io
from collections import Counter
from typing import Any

import httpx

from tests.plain_http import http_client
from worker.simulator.sample import COLUMNS, sample_credentials, sample_csv, sample_world
from worker.simulator.server import SimulatorThread


def rows(accounts: int = 500, seed: int = 1) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sample_csv(accounts, seed))))


def body_of(row: dict[str, str], connector: dict[str, Any]) -> dict[str, Any]:
    """What a client would send for a row of the sample."""
    kind = row["authentication"] or connector["Authentication"][0]["AuthName"]
    (method,) = [m for m in connector["Authentication"] if m["AuthName"] == kind]
    body: dict[str, Any] = {"Name": row["connector"], "AuthenticationId": method["Id"]}
    if row["api_key"]:
        body["AuthValue"] = row["api_key"]
    if row["username"]:
        body["AuthValue"] = base64.b64encode(f"{row['username']}:{row['password']}".encode()).decode()
    body["Properties"] = [
        {"Name": column.removeprefix("property."), "Value": value}
        for column, value in row.items()
        if column.startswith("property.") and value
    ]
    return body


def outcomes(http: httpx.Client) -> dict[str, str]:
    """Account id -> what Cyclr says to the install of its row."""
    client_id, client_secret = sample_credentials()
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    token = http.post("/oauth/token", data=form).json()["access_token"]
    http.headers["Authorization"] = f"Bearer {token}"
    catalogue = {
        c["Name"]: c
        for c in http.get("/v1.0/connectors", headers={"X-Cyclr-Account": "customer-0001"}).json()
    }
    told = {}
    for row in rows():
        if row["account_name"]:
            http.post("/v1.0/accounts", json={"Id": row["account_id"], "Name": row["account_name"]})
        connector = catalogue[row["connector"]]
        answer = http.post(
            f"/v1.0/connectors/{connector['Id']}/install",
            headers={"X-Cyclr-Account": row["account_id"]},
            json=body_of(row, connector),
        ).json()
        told[row["account_id"]] = answer.get("Message") or "installed"
    return told


def test_the_sample_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert sample_csv(50, 1) == sample_csv(50, 1)
    assert sample_csv(50, 1) != sample_csv(50, 2)
    assert sample_credentials(1) == sample_credentials(1)
    assert len(sample_credentials().client_id) == 32
    assert list(sample_world(50).accounts) == list(sample_world(50).accounts)


def test_the_file_has_a_row_per_account_and_every_kind_of_credential() -> None:
    lines = rows()
    assert tuple(lines[0]) == COLUMNS
    assert len({row["account_id"] for row in lines}) == 500
    shares = Counter(row["connector"] for row in lines)
    assert set(shares) == {"Northwind Mail", "Tidewater Ledger", "Parcel Lane", "Harbour CRM"}
    assert min(shares.values()) > 50
    assert all(row["authentication"] for row in lines if row["connector"] == "Parcel Lane")
    assert not any(row["api_key"] or row["password"] for row in lines if row["connector"] == "Harbour CRM")
    assert all(
        row["property.Region"] in ("EU", "US", "APAC") for row in lines if row["property.WebhookSecret"]
    )


def test_thirty_accounts_are_to_be_created_and_all_others_exist() -> None:
    world = sample_world()
    missing = [row for row in rows() if row["account_id"] not in world.accounts]
    assert len(missing) == 30
    assert all(row["account_name"] for row in missing)


def test_six_in_a_hundred_rows_fail_for_four_reasons_and_four_are_there_already() -> None:
    with (
        SimulatorThread(sample_world(is_flaky=False)) as thread,
        http_client(base_url=thread.base_url) as http,
    ):
        told = outcomes(http)
        names = thread.call(
            lambda w: {
                a.id: [(c.name, c.release.name) for c in a.connectors.values()] for a in w.accounts.values()
            }
        )
    wanted = {row["account_id"]: row["connector"] for row in rows()}
    clashes = [account_id for account_id, message in told.items() if message.endswith(" is in use.")]
    there = [a for a in clashes if (wanted[a], wanted[a]) in names[a]]
    refusals = Counter(m for m in told.values() if m != "installed" and not m.endswith(" is in use."))
    assert sorted(refusals.items()) == [
        ("The account is suspended until its invoice is paid.", 7),
        ("The plan of this account includes 3 connectors and all of them are in use.", 8),
        ("This connector is not available in the region of this account.", 8),
    ]
    assert len(there) == 20
    assert len(clashes) - len(there) == 7
    assert list(told.values()).count("installed") == 450


def test_what_is_there_already_is_just_as_its_rows_ask() -> None:
    world = sample_world()
    by_account = {row["account_id"]: row for row in rows()}
    present = [
        (account.id, connector)
        for account in world.accounts.values()
        for connector in account.connectors.values()
        if connector.release.name == by_account[account.id]["connector"]
    ]
    assert len(present) == 20
    for account_id, connector in present:
        row = by_account[account_id]
        wanted = {
            f"property.{name.removeprefix('property.')}": value
            for name, value in row.items()
            if name.startswith("property.") and value
        }
        login = base64.b64encode(f"{row['username']}:{row['password']}".encode()).decode()
        assert connector.name == row["connector"]
        assert connector.auth_value == (row["api_key"] or (login if row["username"] else None))
        assert {n: v for n, v in connector.state().items() if n.startswith("property.")} == wanted


def test_a_world_made_template_first_holds_connectors_to_fill_in_under_other_names_and_with_old_keys() -> (
    None
):
    world = sample_world(is_template_first=True)
    text = sample_csv(is_template_first=True)
    by_account = {row["account_id"]: row for row in csv.DictReader(io.StringIO(text))}
    found: Counter[str] = Counter()
    for account in world.accounts.values():
        wanted = by_account[account.id]
        for connector in account.connectors.values():
            if connector.release.name != wanted["connector"]:
                found["another connector"] += 1
            elif connector.name != wanted["connector"]:
                assert connector.name == f"{wanted['connector']} 2"
                found["another Name"] += 1
            elif connector.auth_value == "made-up-earlier":
                assert connector.is_authenticated
                found["old key"] += 1
            elif not connector.is_authenticated and not connector.properties:
                found["to fill in"] += 1
            else:
                found["as asked"] += 1
    assert found == {
        "to fill in": 154,  # 4 of them of customers who must authorise
        "as asked": 18,
        "another Name": 15,
        "old key": 13,
        "another connector": 7,
    }
    assert len(by_account) == 500


def test_a_few_calls_fail_for_a_moment() -> None:
    faults = sample_world().faults
    kinds = Counter(fault.kind for _ in range(1_000) if (fault := faults.pick("install", None)))
    assert kinds["throttled"] == 1
    assert 5 <= kinds["server_error"] <= 30
    assert 0.04 <= faults.latency() <= 0.08
