"""Custom connectors, and the methods, triggers and custom fields of one that is installed."""

import pytest

from tests.integration.simulator.conftest import Cyclr

CUSTOM = "/account/connectors/custom/"
GUID = "3d2e7a90-5f0c-4c60-9f0e-0123456789ab"


@pytest.fixture
def mail(cyclr: Cyclr) -> str:
    return f"/account/connectors/{cyclr.install(Name='Mail').json()['Id']}"


def test_custom_connectors_are_added_listed_and_removed(cyclr: Cyclr) -> None:
    made = cyclr.call("POST", CUSTOM, json={"Name": "Own", "UniqueIdentifier": GUID})
    assert (made.status_code, made.json()["Name"]) == (200, "Own")
    assert cyclr.get(CUSTOM).json() == [made.json()]
    assert cyclr.get(CUSTOM, "globex").json() == []
    one = f"{CUSTOM}{made.json()['Id']}"
    read = cyclr.get(one)
    assert read.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        read.json()
    assert [cyclr.call("DELETE", one).status_code for _ in range(2)] == [200, 404]
    assert cyclr.get(one).status_code == 404


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"Name":"N","UniqueIdentifier":""}', b'{"UniqueIdentifier":"x"}']
)
def test_a_custom_connector_needs_a_unique_identifier(cyclr: Cyclr, content: bytes) -> None:
    assert cyclr.call("POST", CUSTOM, content=content).status_code == 400


def test_a_custom_connector_needs_a_name(cyclr: Cyclr) -> None:
    answer = cyclr.call("POST", CUSTOM, json={"UniqueIdentifier": GUID})
    assert answer.status_code == 400
    assert answer.text == '{"Message":"Invalid connector: (Column \'Name\' cannot be null)"}'


def test_a_blank_account_header_is_401(cyclr: Cyclr) -> None:
    assert cyclr.call("POST", CUSTOM, "", json={"Name": "Own", "UniqueIdentifier": GUID}).status_code == 401


def test_a_method_is_called_by_its_id_or_unique_identifier(cyclr: Cyclr, mail: str) -> None:
    method = cyclr.get("/connectors/501/methods").json()[0]
    parameters = {str(method["Parameters"][0]["Id"]): "1"}
    for key in (method["Id"], method["MethodUniqueIdentifier"]):
        path = f"{mail}/methods/{key}"
        assert cyclr.get(path).status_code == 200
        assert cyclr.call("POST", path, json={"Parameters": parameters}).status_code == 200
        assert cyclr.call("POST", f"{path}/body", json={}).status_code == 200
        assert cyclr.call("POST", f"{mail}/test/{key}", json={}).status_code == 200
        single = f"{{'Parameters': {{'{method['Parameters'][0]['Id']}': '1'}}}}"
        assert cyclr.call("POST", path, content=single.encode()).status_code == 200


def test_an_unknown_method_is_404_a_malformed_one_and_a_wrong_parameter_400(cyclr: Cyclr, mail: str) -> None:
    method = cyclr.get("/connectors/501/methods").json()[0]
    assert cyclr.call("POST", f"{mail}/methods/1", json={}).status_code == 404
    assert cyclr.call("POST", f"{mail}/methods/{GUID}", json={}).status_code == 404
    assert cyclr.call("POST", f"{mail}/methods/no-guid", json={}).status_code == 400
    wrong = {"Parameters": {"7": "1"}}
    assert cyclr.call("POST", f"{mail}/methods/{method['Id']}", json=wrong).status_code == 400
    assert cyclr.call("POST", "/account/connectors/1/methods/1", json={}).status_code == 404


def test_a_trigger_of_the_connector_answers_values(cyclr: Cyclr, mail: str) -> None:
    trigger = cyclr.get(mail).json()["Connector"]["Triggers"][0]["TriggerId"]
    answer = cyclr.call("POST", f"{mail}/triggers/{trigger}", json={})
    assert answer.status_code == 200
    assert all(entry["Value"] for entry in answer.json())
    assert cyclr.call("POST", f"{mail}/triggers/1", json={}).status_code == 404


def test_custom_fields_are_listed_added_changed_and_removed(cyclr: Cyclr, mail: str) -> None:
    path = f"{mail}/fields"
    made = cyclr.call("POST", path, json={"Name": "Size", "DataType": "Text"}).json()
    one = f"{path}/{made['Id']}"
    assert cyclr.get(one).json() == made
    changed = cyclr.call("PUT", one, json={"Name": "Length"}).json()
    assert changed == {"Id": made["Id"], "Name": "Length", "DataType": "Text"}
    assert cyclr.get(path).json() == [changed]
    assert cyclr.get(mail).json()["CustomFields"] == [changed]
    assert [cyclr.call(verb, one, json={}).status_code for verb in ("DELETE", "GET", "PUT", "DELETE")] == [
        200, 404, 404, 404,
    ]  # fmt: skip
