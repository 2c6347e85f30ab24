import json
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.cyclr import shapes
from worker.cyclr.answers import (
    Answer,
    message_of,
    read_answer,
    read_json,
    read_page,
    retry_after_s,
    secrets_of,
    total_pages,
)
from worker.cyclr.errors import (
    Busy,
    CyclrError,
    NameInUse,
    NotFound,
    OutcomeUnknown,
    Redirected,
    Refused,
    Throttled,
    Unauthorised,
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def read(status: int, body: object = b"", headers: dict[str, str] | None = None, **more) -> object:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = Answer(status, httpx.Headers(headers), content)
    return read_answer(answer, shapes.account_id, token_id="token-7", now=NOON, **more)


def error_of(status: int, body: object = b"", headers: dict[str, str] | None = None, **more) -> CyclrError:
    with pytest.raises(CyclrError) as raised:
        read(status, body, headers, **more)
    return raised.value


def test_a_200_is_what_was_expected() -> None:
    assert read(200, {"Id": "acme"}) == "acme"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (201, OutcomeUnknown),
        (202, OutcomeUnknown),
        (204, OutcomeUnknown),
        (301, Redirected),
        (302, Redirected),
        (304, Redirected),
        (307, Redirected),
        (308, Redirected),
        (400, Refused),
        (401, Unauthorised),
        (402, Refused),
        (403, Refused),
        (404, NotFound),
        (405, Refused),
        (408, OutcomeUnknown),
        (409, OutcomeUnknown),
        (413, Refused),
        (422, Refused),
        (460, OutcomeUnknown),
        (499, OutcomeUnknown),
        (429, Throttled),
        (500, OutcomeUnknown),
        (502, OutcomeUnknown),
        (503, OutcomeUnknown),
        (504, OutcomeUnknown),
        (599, OutcomeUnknown),
    ],
)
def test_each_status_has_one_meaning(status: int, kind: type[CyclrError]) -> None:
    error = error_of(status, {"Message": "No."})
    assert type(error) is kind
    assert error.status == status


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "status 200, but the answer is not JSON"),
        (b"<html>Welcome</html>", "status 200, but the answer is not JSON"),
        (b"{}", "status 200, but the account has no Id"),
        (b"[]", "status 200, but the account is not an object"),
        (b"null", "status 200, but the account is not an object"),
        (b'{"Id": 5}', "status 200, but the account has no Id"),
        (b'{"Id": "acme"', "status 200, but the answer is not JSON"),
        (b"[" * 100_000, "status 200, but the answer is not JSON"),
        (b"9" * 5_000, "status 200, but the answer is not JSON"),
        (b"\xff\xfe\x00", "status 200, but the answer is not JSON"),
    ],
)
def test_a_200_that_is_something_else_leaves_the_outcome_unknown(body: bytes, reason: str) -> None:
    error = error_of(200, body)
    assert isinstance(error, OutcomeUnknown)
    assert error.reason == reason
    assert error.__cause__ is None
    assert error.__context__ is None


def test_a_refused_token_is_named_by_its_id() -> None:
    error = error_of(401, {"Message": "Authorization has been denied for this request."})
    assert isinstance(error, Unauthorised)
    assert error.token_id == "token-7"


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_name_in_use_is_told_by_its_message_whatever_4xx(status: int) -> None:
    error = error_of(status, {"Message": "Account connector name 'Mail' is in use."})
    assert isinstance(error, NameInUse)
    assert error.status == status
    assert error.message == "Account connector name 'Mail' is in use."


def test_name_in_use_is_told_even_where_a_secret_is_a_word_of_the_message() -> None:
    body = {"Message": "Account connector name 'Mail' is in use."}
    error = error_of(400, body, secrets=["in use", "connector"])
    assert isinstance(error, NameInUse)
    assert error.message == "Account [secret] name 'Mail' is [secret]."


@pytest.mark.parametrize("status", [200, 500])
def test_name_in_use_is_a_4xx_only(status: int) -> None:
    error = error_of(status, {"Message": "Account connector name 'Mail' is in use."})
    assert isinstance(error, OutcomeUnknown)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 7 "}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "3600"}, 3600.0),
        ({"Retry-After": "86400"}, 3600.0),
        ({"Retry-After": "9" * 400}, 3600.0),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "1e3"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sun, 01 Mar 2026 11:59:30 GMT"}, None),
        ({"Retry-After": "Sun, 01 Mar 2026 18:00:00 GMT"}, 3600.0),
        ({"Retry-After": "Sun, 01 Mar 2026 11:00:30 GMT", "Date": "Sun, 01 Mar 2026 11:00:00 GMT"}, 30.0),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT", "Date": "yesterday"}, 30.0),
        ({"Retry-After": "Sun, 99 Mar 2026 12:00:30 GMT"}, None),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:30 -0000"}, 30.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    raw = httpx.Headers([(k.encode(), v.encode()) for k, v in headers.items()])
    assert retry_after_s(raw, NOON) == seconds


@pytest.mark.parametrize(("headers", "seconds"), [({}, None), ({"Retry-After": "7"}, 7.0)])
def test_a_429_is_throttling_with_or_without_a_time(headers: dict[str, str], seconds: float | None) -> None:
    error = error_of(429, b"", headers)
    assert isinstance(error, Throttled)
    assert error.retry_after_s == seconds


def test_a_503_with_a_time_is_busy_and_without_one_is_unknown() -> None:
    busy = error_of(503, b"", {"Retry-After": "9"})
    assert isinstance(busy, Busy)
    assert busy.retry_after_s == 9.0
    assert isinstance(error_of(503), OutcomeUnknown)
    assert isinstance(error_of(503, b"", {"Retry-After": "later"}), OutcomeUnknown)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"Message": "Connector 5122 is a draft and cannot be installed."}', None),
        (
            b'{"Message": "two\\nlines\\u0000 and\\u001b[31m a \\ud800 surrogate"}',
            "two lines and [31m a surrogate",
        ),
        (b'\xef\xbb\xbf{"Message": "after a BOM"}', "after a BOM"),
        (b'{"Message": ""}', "no message"),
        (b'{"Message": 5}', "no message"),
        (b'{"AuthValue": "in-clear"}', "no message"),
        (b'["a list"]', "no message"),
        (b"", "no message"),
        (b"   ", "no message"),
        (b"plain words", "plain words"),
        (b"\xff\xfe\xfd", "\ufffd\ufffd\ufffd"),
        (b"<html><body>oops</body></html>", "a web page instead of an answer"),
        (
            b"<!DOCTYPE html><html><head><title>502 Bad\n Gateway &amp; co</title></head></html>",
            "a web page instead of an answer: 502 Bad Gateway & co",
        ),
    ],
)
def test_messages_for_people(body: bytes, message: str | None) -> None:
    assert message_of(body) == (message or "Connector 5122 is a draft and cannot be installed.")


def test_a_long_message_is_shortened() -> None:
    message = message_of(json.dumps({"Message": "x" * 5_000}).encode())
    assert message == "x" * 299 + "…"


def test_a_secret_is_taken_out_before_a_message_is_shortened() -> None:
    secret = "s3cr3t-" * 10
    message = message_of(json.dumps({"Message": "x" * 280 + secret}).encode(), [secret])
    assert message == "x" * 280 + "[secret]"


@pytest.mark.parametrize(
    ("secret", "text", "expected"),
    [
        ("k3y-value", "bad key k3y-value!", "bad key [secret]!"),
        ('k"3\\y', 'bad key k"3\\y or k\\"3\\\\y', "bad key [secret] or [secret]"),
        ("a&b<c>", "bad key a&amp;b&lt;c&gt;", "bad key [secret]"),
        ("pass word+1", "bad key pass%20word%2B1", "bad key [secret]"),
        ("eu", "europe is not eu", "europe is not [secret]"),
        ("", "nothing", "nothing"),
    ],
)
def test_secrets_are_taken_out_in_every_usual_spelling(secret: str, text: str, expected: str) -> None:
    assert message_of(text.encode(), [secret]) == expected


def test_the_parts_of_a_credential_are_secrets_too() -> None:
    basic = {"AuthValue": "YWxpY2U6aHVudGVyMjI=", "Properties": [{"Name": "Domain", "Value": "acme-west"}]}
    assert set(secrets_of(basic)) == {
        "YWxpY2U6aHVudGVyMjI=",
        "alice:hunter22",
        "alice",
        "hunter22",
        "acme-west",
    }
    oauth = {"AuthValue": '{"AccessToken": "at-1", "RefreshToken": "rt-1"}'}
    assert set(secrets_of(oauth)) == {'{"AccessToken": "at-1", "RefreshToken": "rt-1"}', "at-1", "rt-1"}
    assert set(secrets_of({"Name": "Mail"})) == set()


@settings(max_examples=300)
@given(before=st.text(), secret=st.text("XYZ§", min_size=5, max_size=20), after=st.text())
def test_no_message_holds_a_secret(before: str, secret: str, after: str) -> None:
    for body in (json.dumps({"Message": before + secret + after}), before + secret + after):
        assert secret not in message_of(body.encode("utf-8", "replace"), [secret])


@settings(max_examples=500)
@given(
    status=st.integers(100, 599),
    body=st.binary()
    | st.text().map(str.encode)
    | st.text().map(lambda t: json.dumps({"Message": t}).encode()),
    wait=st.none() | st.text(st.characters(codec="ascii", categories=("L", "N", "P"))),
)
def test_any_answer_is_a_value_or_an_error_of_ours(status: int, body: bytes, wait: str | None) -> None:
    text = ""
    try:
        read(status, body, {} if wait is None else {"Retry-After": wait})
    except CyclrError as error:
        text = str(error)
    assert text.isprintable()
    assert len(text) < 400


def test_icons_are_dropped_while_a_list_is_read() -> None:
    body = (
        b'[{"Id": 1, "Icon": "data:image/png;base64,AAAA", "Connector": {"Icon": "data:", "Name": "Mail"}}]'
    )
    assert read_json(body) == [{"Id": 1, "Connector": {"Name": "Mail"}}]


@pytest.mark.parametrize(
    ("text", "pages"),
    [("3", 3), (" 12 ", 12), ("0", None), ("", None), ("-1", None), ("many", None), ("1.5", None)],
)
def test_total_pages(text: str, pages: int | None) -> None:
    assert total_pages(httpx.Headers({"total-pages": text})) == pages


def test_a_page_is_read_entry_by_entry() -> None:
    answer = Answer(200, httpx.Headers({"Total-Pages": "4"}), b'[{"Id": "a"}, {"Id": "b"}]')
    page = read_page(answer, shapes.account_id, token_id="token-1", now=NOON)
    assert page.items == ("a", "b")
    assert page.total_pages == 4


@pytest.mark.parametrize("body", [b'{"Items": []}', b'[{"Id": "a"}, {}]', b'[{"Id": "a"}, null]'])
def test_a_page_that_cannot_be_read_whole_is_no_page(body: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        read_page(Answer(200, httpx.Headers(), body), shapes.account_id, token_id="token-1", now=NOON)


def test_an_answer_shows_nothing_of_its_body() -> None:
    assert repr(Answer(200, httpx.Headers({"x": "in-clear"}), b"in-clear")) == "Answer(status=200)"
