"""A secret that was pasted where a name should be is not sent back, and not logged."""

import pytest

from tests.browser.served import Served
from tests.hostile.raw_client import RawClient
from tests.served.home import client_of

SECRET = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
ITEM = {"account_id": "acme", "connector": "Northwind Mail"}
JOBS = "/v1/jobs"


@pytest.mark.parametrize(
    ("target", "request_"),
    [
        (JOBS, {"json": {"items": [ITEM | {SECRET: "x"}]}}),
        (JOBS, {"json": {"items": [ITEM | {SECRET: 5}]}}),
        (JOBS, {"json": {"items": [ITEM | {SECRET + "x" * 500: "y"}]}}),
        (JOBS, {"json": {"items": [ITEM], SECRET: "x"}}),
        (JOBS, {"json": {"items": [ITEM], "options": {SECRET: "x"}}}),
        (
            JOBS,
            {"content": f'{{"{SECRET}": 1, "{SECRET}": 2}}', "headers": {"Content-Type": "application/json"}},
        ),
        (
            JOBS,
            {
                "content": f'{{"items": [{{"{SECRET}": "1", "{SECRET}": "2"}}]}}',
                "headers": {"Content-Type": "application/json"},
            },
        ),
        (f"{JOBS}?{SECRET}=1", {"json": {"items": [ITEM]}}),
        (f"{JOBS}?{SECRET}=1&{SECRET}=2", {"json": {"items": [ITEM]}}),
        (
            JOBS,
            {
                "files": [
                    (SECRET, (None, "1")),
                    (SECRET, (None, "2")),
                    ("file", ("a.csv", "account_id\nacme\n")),
                ]
            },
        ),
        (JOBS, {"files": [(SECRET, (None, "1")), ("file", ("a.csv", "account_id\nacme\n"))]}),
        (
            JOBS,
            {
                "content": f"--{SECRET[:9]}\r\n{SECRET}",
                "headers": {"Content-Type": f"multipart/form-data; boundary={SECRET[:9]}"},
            },
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else "",
)
def test_an_unknown_name_is_never_sent_back(served: Served, target: str, request_: dict):
    with client_of(served) as client:
        answer = client.post(target, **request_)
    assert answer.status_code in (400, 422), answer.text
    assert SECRET not in answer.text
    assert SECRET[:20] not in answer.text
    assert SECRET[8:] not in served.command.out + served.command.err


def test_where_it_stands_is_told(served: Served):
    with client_of(served) as client:
        answer = client.post(JOBS, json={"items": [ITEM, ITEM | {"x_own": "1", SECRET: "x"}]})
    assert [(each["row"], each["column"]) for each in answer.json()["errors"]] == [(3, "column 4")]


def test_what_a_form_is_made_of_is_not_logged(served: Served):
    """The library that reads forms would log the bytes that it did not expect."""
    with client_of(served) as client:
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        for body in (b"--x\r\nA\xff: b\r\n\r\n", b"no boundary", b"--x--trailing" + SECRET.encode()):
            client.post(JOBS, content=body, headers=kind)
    with RawClient(served.url) as nobody:
        nobody.send("no request at all\r\n\r\n")
        assert b" 400 " in nobody.read_to_end()
    assert "Invalid HTTP request" not in served.command.err
    assert "boundary" not in served.command.err
    assert "multipart" not in served.command.err
