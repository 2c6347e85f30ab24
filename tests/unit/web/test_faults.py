"""What is wrong with a request is told in the product's words, and nothing of the request is shown."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.web.api.submitting import faults_of_options
from worker.web.http_errors import HttpError, problem_answer
from worker.web.json_bodies import parse_json
from worker.web.json_items import JobBody

ONCE = "expected it once, got it twice or more in one object: which value is meant?"


def faults(body: dict[str, Any]) -> list[tuple[int | None, str | None, str]]:
    with pytest.raises(HttpError) as caught:
        JobBody([json.dumps(body).encode()], faults_of_options).check()
    return [(fault.row, fault.column, fault.message) for fault in caught.value.errors]


def item(**values: Any) -> dict[str, Any]:
    return {"items": [{"account_id": "acme"}, values]}


def options(**values: Any) -> dict[str, Any]:
    return {"items": [{"account_id": "acme"}], "options": values}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (item(account_id=17), (3, "account_id", "expected a text, got a number: write it in quotes")),
        (item(account_id=1.5), (3, "account_id", "expected a text, got a number: write it in quotes")),
        (item(api_key=True), (3, "api_key", "expected a text, got true or false: write it in quotes")),
        (item(api_key=["k"]), (3, "api_key", "expected a text, got a list")),
        (item(api_key={"k": "v"}), (3, "api_key", "expected a text, got an object")),
        ({"items": ["acme"]}, (2, None, "expected an object, got a text")),
        ({"items": "acme"}, (None, "items", "expected a list, got a text")),
        ({"items": []}, (None, "items", "expected 1 item or more, got 0")),
        ({}, (None, "items", "expected it, got nothing")),
        (
            item(account_id="a") | {"more": 1},
            (None, "(unknown name)", "nothing of this name is expected here: is it misspelt?"),
        ),
        (options(first="ten"), (None, "options.first", "expected a whole number, got a text")),
        (options(first=1.5), (None, "options.first", "expected a whole number, got another one")),
        (options(first=0), (None, "options.first", "expected 1 or more, got less")),
        (options(first=2**31), (None, "options.first", "expected 2,147,483,647 or less, got more")),
        (
            options(no_look="maybe"),
            (None, "options.no_look", "expected true or false, got another text"),
        ),
        (
            options(operation="remove"),
            (None, "options.operation", "expected 'install' or 'update', got another text"),
        ),
        (
            options(as_written=["name"]),
            (
                None,
                "options.as_written.0",
                "expected 'account_id' or 'connector_version', got another text",
            ),
        ),
        (
            options(connector=17),
            (None, "options.connector", "expected a text, got a number: write it in quotes"),
        ),
        (
            options(connector="a\0"),
            (None, "options.connector", "expected a text without NUL (U+0000), got another text"),
        ),
        (
            options(source_name="a" * 201),
            (None, "options.source_name", "expected 200 characters at most, got more"),
        ),
    ],
)
def test_a_fault_of_a_request_is_told_with_its_row_and_column(
    body: dict[str, Any], fault: tuple[int | None, str | None, str]
) -> None:
    assert faults(body) == [fault]


def test_too_many_items_are_told_when_there_is_one_too_many() -> None:
    fault = faults({"items": [{"account_id": "a"}] * 100_005})
    assert fault == [(None, "items", "expected 100,000 items at most, got more")]


@given(st.text(min_size=1).filter(lambda text: text.strip()))
def test_no_value_of_a_request_is_shown(secret: str) -> None:
    wrong = {
        "items": [{"account_id": [secret]}],
        "options": {"first": f"~{secret}~", "operation": f"~{secret}~", "if_present": f"~{secret}~"},
    }
    assert all(f"~{secret}~" not in message for _, _, message in faults(wrong))


def told(body: str | bytes) -> list[dict[str, Any]]:
    with pytest.raises(HttpError) as caught:
        parse_json(body.encode() if isinstance(body, str) else body)
    assert caught.value.status_code == 422
    problem: dict[str, Any] = json.loads(bytes(problem_answer(caught.value).body))
    return problem["errors"]  # type: ignore[no-any-return]


def test_a_key_that_an_item_has_twice_is_told_with_its_row() -> None:
    body = '{"items": [{"account_id": "a"}, {"account_id": "b", "api_key": "1", "api_key": "2", "api_key": "3"}]}'
    assert told(body) == [{"row": 3, "column": "api_key", "message": ONCE}]


def test_keys_that_are_twice_are_found_at_every_depth_and_all_at_once() -> None:
    body = (
        '{"options": {"first": 1, "first": 2}, "items": [{"account_id": "a", "account_id": "b"}],'
        ' "more": [[{"x": {"y": 1, "y": 2}}]], "more2": 1, "more2": 2}'
    )
    assert [error.get("column") for error in told(body)] == [
        "(unknown name)",
        "options.first",
        "account_id",
        "(unknown name).0.0.(unknown name).(unknown name)",
    ]


def test_a_key_is_the_same_however_it_is_escaped() -> None:
    assert [error["column"] for error in told('{"x_a": 1, "x_\\u0061": 2}')] == ["x_a"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "expected a body of JSON; at line 1, character 2 it is not JSON"),
        ('{"a": 1}\n}', "expected a body of JSON; at line 2, character 1 it is not JSON"),
        ("", "expected a body of JSON; at line 1, character 1 it is not JSON"),
        ('{"a": NaN}', "expected a body of JSON; NaN is no number of JSON"),
        ('{"a": -Infinity}', "expected a body of JSON; -Infinity is no number of JSON"),
        (f'{{"a": {"9" * 5_000}}}', "expected a body of JSON; a number in it is too long"),
        ("[" * 100_000, "expected a body of JSON; it is nested too deeply"),
        (b'{"a": "\xff"}', "expected a body of JSON; it is not UTF-8"),
    ],
)
def test_what_is_not_json_is_told_so(body: str | bytes, message: str) -> None:
    assert told(body) == [{"message": message}]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_is_json_is_read_as_it_is(value: Any) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value
