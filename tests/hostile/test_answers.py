"""What one answer of Cyclr may cost a worker, and what it may make of an outcome: nothing that is unknown becomes known."""

import asyncio
import gzip
import json
import resource
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.hostile.hostile_cyclr import bare, dripping, hostile_cyclr, pieces
from tests.hostile.loops import Slowest, watched_loop
from tests.integration.cyclr.clients import (
    CLIENT_SECRET,
    TOKEN,
    FreePermit,
    NotingLimits,
    next_permit,
    open_client,
    with_token,
)
from tests.raw_server import Handler, RawRequest, Reply, answer, in_turn
from worker.cyclr.catalogue import CatalogueReader
from worker.cyclr.client import CyclrClient, Patience
from worker.cyclr.errors import (
    CredentialsRefused,
    CyclrError,
    NameInUse,
    NeverSent,
    OutcomeUnknown,
    Redirected,
    Refused,
    Throttled,
)
from worker.cyclr.looks import Finding, look
from worker.domain.connectors import Connector, ConnectorRef

MB = 1024 * 1024
MOST_CPU_S = 0.05
BODY = {"Name": "Mail", "AuthValue": "k3y-in-clear"}
INSTALLED = {"Id": 9, "Name": "Mail", "Connector": {"Id": 7, "Name": "Mail"}, "Authenticated": True}
GOOD = json.dumps(INSTALLED).encode()
IMPATIENT = Patience(pauses_s=())


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def each(names: str | tuple[str, ...], values: Sequence[Any]) -> pytest.MarkDecorator:
    """For values that make no name for a test."""
    return pytest.mark.parametrize(names, values, ids=[str(number) for number in range(len(values))])


Deed = Callable[[CyclrClient], Awaitable[Any]]


def done(handler: Handler | Reply, deed: Deed, *, timeout_s: float = 20.0) -> tuple[Any, Slowest]:
    """What came of it (a value, or the error that was raised), and the slowest callback of the loop meanwhile."""
    reply_or_handler = handler if handler.__code__.co_varnames[:1] == ("request",) else in_turn(handler)  # type: ignore[union-attr,arg-type]

    async def scenario(url: str) -> Any:
        async with open_client(url, NotingLimits(), timeout_s=timeout_s) as client:
            await client.have_a_token()
            try:
                return await deed(client)
            except CyclrError as error:
                return error

    with hostile_cyclr(with_token(reply_or_handler)) as server, watched_loop() as slowest:
        return asyncio.run(scenario(server.url)), slowest


async def install(client: CyclrClient) -> Any:
    return await client.install(FreePermit(), "acme", 7, BODY)


async def look_once(client: CyclrClient) -> Finding:
    return await look(client, next_permit, "acme", name="Mail", connector_name="Mail", is_strict=True)


def unknown(reply: Reply, deed: Deed = install, **more: Any) -> str:
    """The reason of the unknown outcome that this must be, told without one slow callback."""
    outcome, slowest = done(reply, deed, **more)
    assert type(outcome) is OutcomeUnknown, outcome
    assert slowest.cpu_s < MOST_CPU_S, slowest
    return outcome.reason


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@each(
    ("encoding", "body"),
    [
        ("gzip, gzip", packed(packed(GOOD))),
        ("gzip, gzip, gzip, gzip", packed(GOOD)),
        ("br", GOOD),
        ("zstd", GOOD),
        ("deflate", zlib.compress(GOOD)),
        ("compress", GOOD),
        ("identity, gzip", packed(GOOD)),
        ("", GOOD),
        ("*", GOOD),
    ],
)
def test_an_answer_packed_otherwise_than_asked_for_leaves_the_outcome_unknown(
    encoding: str, body: bytes
) -> None:
    reason = unknown(bare(200, f"Content-Encoding: {encoding}".encode(), body=body))
    assert reason == (
        "the answer cannot be read: it is packed in another way than asked for (expected gzip, once, or nothing)"
    )


def test_two_headers_are_two_encodings() -> None:
    head = (b"Content-Encoding: gzip", b"Content-Encoding: gzip")
    assert "another way than asked for" in unknown(bare(200, *head, body=packed(packed(GOOD))))


@each(
    "body",
    [
        packed(GOOD)[:-1],
        packed(GOOD)[:-9],
        packed(GOOD)[:5],
        b"",
        packed(GOOD) + b"\0",
        packed(GOOD) + packed(b" "),
        b"not gzip",
        zlib.compress(GOOD),
        packed(GOOD)[:-8] + b"\0" * 8,
    ],
)
def test_a_damaged_gzip_leaves_the_outcome_unknown(body: bytes) -> None:
    reason = unknown(bare(200, b"Content-Encoding: gzip", body=body))
    assert reason == "the answer cannot be read: its gzip is damaged, or something stands behind it"


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip "])
def test_one_gzip_is_read(encoding: str) -> None:
    outcome, _ = done(bare(200, f"Content-Encoding: {encoding}".encode(), body=packed(GOOD)), install)
    assert outcome.id == 9


def test_what_was_not_packed_is_read() -> None:
    outcome, _ = done(bare(200, b"Content-Encoding: identity", body=GOOD), install)
    assert outcome.id == 9


def test_a_gzip_of_gigabytes_is_left_at_the_bound() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b" " * (16 * MB)
    bomb = b"".join([*(packer.compress(zeros) for _ in range(64)), packer.flush()])  # 1 GB in 1 MB
    reply = bare(200, b"Content-Encoding: gzip", body=bomb)
    before = peak_bytes()
    assert unknown(reply) == ("the answer cannot be read: it is larger than 4 MB")
    assert peak_bytes() - before < 30 * MB


def test_a_gzip_that_never_gives_anything_is_left_at_the_bound() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    nothing = b"\x00\x00\x00\xff\xff" * (MB // 5)  # empty blocks
    reply = pieces(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99999999\r\n\r\n" + head + nothing * 8
    )
    assert unknown(reply) == "the answer cannot be read: it is larger than 4 MB"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Refused), (404, CyclrError), (500, OutcomeUnknown), (302, Redirected), (429, Throttled)],
)
def test_an_error_of_60_mb_costs_as_little_as_a_short_one(status: int, kind: type[CyclrError]) -> None:
    text = ("No: \x1b[31m" + "<title" * 100_000 + "\u202e" * 1000 + "é\0" * 100_000).encode() * 60
    assert len(text) > 40 * MB
    reply = bare(status, body=text)
    before = peak_bytes()
    outcome, slowest = done(reply, install)
    assert isinstance(outcome, kind)
    assert len(str(outcome)) < 400
    assert slowest.cpu_s < MOST_CPU_S, slowest
    assert peak_bytes() - before < 30 * MB


def test_a_page_of_unfinished_titles_is_read_once() -> None:
    page = b"<html>" + b"<title" * 20_000
    outcome, slowest = done(bare(400, body=page), install)
    assert str(outcome) == "Cyclr refused (status 400): a web page instead of an answer"
    assert slowest.cpu_s < MOST_CPU_S, slowest


def test_a_number_in_a_title_is_no_puzzle() -> None:
    page = b"<html><title>&#" + b"9" * 5_000 + b";</title>"
    outcome, _ = done(bare(502, body=page), install)
    assert type(outcome) is OutcomeUnknown
    assert outcome.reason.startswith("status 502: a web page instead of an answer")


def test_an_unreadable_400_may_have_said_that_the_name_is_in_use() -> None:
    said = json.dumps({"Message": "Account connector name 'Mail' is in use."}).encode()
    assert unknown(bare(400, b"Content-Encoding: br", body=said)) == (
        "status 400, but the answer cannot be read:"
        " it is packed in another way than asked for (expected gzip, once, or nothing)"
    )
    assert type(done(bare(400, b"Content-Encoding: gzip", body=packed(said)), install)[0]) is NameInUse


def test_a_429_is_obeyed_whatever_it_is_packed_in() -> None:
    outcome, _ = done(bare(429, b"Content-Encoding: br", b"Retry-After: 7", body=b"x"), install)
    assert type(outcome) is Throttled
    assert outcome.retry_after_s == 7.0


def test_a_long_name_in_use_is_told_by_the_end_of_the_message() -> None:
    said = {"Message": f"Account connector name '{'x' * 9_000}' is in use."}
    outcome, _ = done(answer(400, said), install)
    assert type(outcome) is NameInUse
    assert len(outcome.message) == 300


def test_the_beginning_of_a_long_secret_is_not_shown_where_the_message_is_cut() -> None:
    secret = "".join(f"{n:05d}" for n in range(4_000))
    body = BODY | {"AuthValue": secret}
    said = json.dumps({"Message": f"Bad value {secret}"}).encode()
    outcome, slowest = done(
        bare(400, body=said), lambda client: client.install(FreePermit(), "acme", 7, body)
    )
    assert outcome.message == "Bad value [secret]"
    assert slowest.cpu_s < MOST_CPU_S, slowest


# Each about as large as its bound allows, or larger.
_LARGE_BODIES = {
    "an icon of 50 MB": lambda: b'{"Icon":"' + b"A" * (50 * MB) + b'"}',
    "deep": lambda: (b'{"a":[' * 900_000)[: 4 * MB],
    "deep lists": lambda: b"[" * (4 * MB),
    "a whole number": lambda: b"9" * (4 * MB),
    "whole numbers": lambda: b"[" + b",".join([b"9" * 4_300] * 900) + b"]",
    "a fraction": lambda: b'{"Id":0.' + b"1" * (4 * MB - 100) + b"}",
    "many values": lambda: b"[" + b"1," * (2 * MB - 10) + b"1]",
    "many keys": lambda: b"{" + b",".join(b'"%d":1' % n for n in range(380_000)) + b"}",
    "many objects": lambda: b"[" + b"{}," * 290_000 + b"{}]",
    "many icons": lambda: b"[" + b'{"Icon":""},' * 290_000 + b"{}]",
    "one key, often": lambda: b"{" + b'"Id":1,' * 290_000 + b'"Id":1}',
    "escapes": lambda: b'{"Id":"' + b"\\ud800" * (4 * MB // 6 - 10) + b'"}',
    "few escapes": lambda: b'{"Id":"' + b"\\u00e9" * 290_000 + b'"}',
    "letters of four bytes": lambda: b'{"Id":"' + "😀".encode() * (MB - 10) + b'"}',
    "no UTF-8": lambda: b"\xff" * (4 * MB),
    "blanks": lambda: b" " * (4 * MB),
    "zeros": lambda: b"\0" * (4 * MB),
}


@pytest.mark.parametrize("body", _LARGE_BODIES.values(), ids=_LARGE_BODIES.keys())
def test_no_body_holds_up_the_loop_or_passes_for_an_install(body: Callable[[], bytes]) -> None:
    for status in (200, 400):
        outcome, slowest = done(bare(status, body=body()), install)
        assert type(outcome) is (OutcomeUnknown if status == 200 else Refused), outcome
        assert slowest.cpu_s < MOST_CPU_S, slowest


@each(
    "change",
    [
        {"Id": 10**25},
        {"Id": 2**63},
        {"Id": 1.5},
        {"Id": "9"},
        {"Id": [9]},
        {"Id": True},
        {"Id": 0},
        {"Id": -9},
        {"Name": ["Mail"]},
        {"Name": {"Mail": 1}},
        {"Name": "Mail\x00"},
        {"Name": "Mail\ud800"},
        {"Name": "Mail\u202e"},
        {"Name": "a" + "\u0301\u0316" * 100_000},
        {"Connector": []},
        {"Connector": {"Name": 5}},
        {"Connector": {"Name": "\ufdfa" * 100_000}},
    ],
)
def test_what_is_not_this_install_is_not_taken_for_it(change: dict[str, Any]) -> None:
    assert unknown(answer(200, INSTALLED | change)).startswith("status 200, but the ")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_constant_that_is_no_json_is_none(constant: str) -> None:
    assert unknown(bare(200, body=GOOD[:-1] + f', "x": {constant}}}'.encode())) == (
        "status 200, but the answer is not JSON"
    )


@each(
    "properties",
    [
        "x",
        5,
        {"Name": "a"},
        [1, None, [], {"Name": 5}, {"Name": "a", "Value": {"deep": [[[]]]}}],
        [{"Name": "a", "Value": json.loads("[" * 500 + "]" * 500)}],
        [{"Name": "a", "Value": 1e308 * 10}],
        [{"Name": "a" * 100_000, "Value": "\ud800\x00"}],
    ],
)
def test_odd_properties_do_not_hide_an_install(properties: Any) -> None:
    body = json.dumps(INSTALLED | {"Properties": properties}).replace("Infinity", "1e999").encode()
    outcome, slowest = done(bare(200, body=body), install)
    assert outcome.id == 9
    assert slowest.cpu_s < MOST_CPU_S, slowest


@each(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (2 * MB) + b"\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 10_000 + b"Content-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 " + b"x" * (2 * MB) + b"\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a=b;" * MB + b"\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: x\r\n" * MB,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * MB,
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + GOOD,
        b"HTTP/9.9 200 OK\r\n\r\n" + GOOD,
        b"HTTP/1.1 99999 OK\r\n\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nX\xff\xfe: \xff\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\n{}",
        b"\0" * MB,
    ],
)
def test_no_head_or_chunk_holds_up_the_loop_or_passes_for_an_install(head: bytes) -> None:
    unknown(pieces(head, then_close=True))


def test_interim_answers_without_end_are_left_at_the_deadline() -> None:
    flood = pieces(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000, times=1_000_000)
    assert unknown(flood, timeout_s=1.0) == "no answer within 1 s"


@each(
    "reply",
    [
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b" ", 0.1),
        dripping(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n", 0.1),
        dripping(b"", b"H", 0.1),
        dripping(b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.1),
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: x\r\n", 0.1),
    ],
)
def test_a_drop_now_and_again_does_not_put_off_the_deadline(reply: Reply) -> None:
    began = time.monotonic()
    reason = unknown(reply, timeout_s=1.0)
    # A head that grows is refused as a head, before or at the deadline.
    assert reason == "no answer within 1 s" or "could not be read" in reason
    assert time.monotonic() - began < 20


@each(
    ("text", "wait_s"),
    [
        (b"9" * 8_000, 3600.0),
        (b"1e400", None),
        (b"-1", None),
        (b"NaN", None),
        (b"inf", None),
        (b"\xff\xfe", None),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        (b"Fri, 31 Dec 9999 23:59:59 -2359", 3600.0),
        (b"Sat, 01 Jan 0001 00:00:00 +2359", None),
        (b"Fri, 99 Zzz 99999999999 99:99:99 GMT", None),
        (b"Fri, 31 Dec " + b"9" * 7_000 + b" 00:00:00 GMT", None),
        (b"," * 8_000, None),
        (b"(" * 8_000, None),
    ],
)
def test_whatever_retry_after_says_is_an_hour_at_most(text: bytes, wait_s: float | None) -> None:
    outcome, slowest = done(bare(429, b"Retry-After: " + text), install)
    assert type(outcome) is Throttled
    assert outcome.retry_after_s == wait_s
    assert slowest.cpu_s < MOST_CPU_S, slowest


def test_where_a_redirect_leads_is_not_told() -> None:
    outcome, _ = done(bare(302, b"Location: http://evil.example/\x1b[31m?token=k3y-in-clear"), install)
    assert str(outcome) == "Cyclr answers with a redirect (status 302): CYCLR_API_URL is wrong"


# Lists


def _page(entries: list[Any], **headers: str) -> Reply:
    return answer(200, entries, **headers)


_ODD_PAGES = {
    "more entries than a page has": [INSTALLED | {"Id": n, "Name": "x"} for n in range(6_000)],
    "an entry that is none": [INSTALLED | {"Name": "x"}, 5],
    "names that take long to compare": [
        INSTALLED
        | {"Id": n, "Name": "a" + "\u0301\u0316" * 499, "Connector": {"Name": "b" + "\u0301\u0316" * 499}}
        for n in range(300)
    ],
    "names that are too long": [
        INSTALLED | {"Id": n, "Name": "a" + "\u0301\u0316" * 900} for n in range(300)
    ],
    "an object": {"Items": []},
    "nothing": None,
}


@pytest.mark.parametrize("entries", _ODD_PAGES.values(), ids=_ODD_PAGES.keys())
def test_no_list_holds_up_the_loop_or_proves_absence_by_being_odd(entries: Any) -> None:
    outcome, slowest = done(_page(entries, Total_Pages="1"), look_once)
    assert slowest.cpu_s < MOST_CPU_S, slowest
    if isinstance(outcome, Finding):
        assert entries is _ODD_PAGES["names that take long to compare"]
        assert outcome.found is None
    else:
        assert type(outcome) is OutcomeUnknown


def test_a_list_of_16_mb_of_icons_is_read_beside_the_loop() -> None:
    icon = "A" * 150_000
    entries = [{"Id": n, "Name": f"n{n}", "Connector": {"Name": "c", "Icon": icon}} for n in range(100)]
    outcome, slowest = done(_page(entries, Total_Pages="1"), look_once)
    assert outcome == Finding(highest_id=99)
    assert slowest.cpu_s < MOST_CPU_S, slowest


def test_a_list_of_more_than_its_bound_is_no_proof() -> None:
    outcome, slowest = done(bare(200, b"Total-Pages: 1", body=b"[" + b" " * (20 * MB) + b"]"), look_once)
    assert type(outcome) is OutcomeUnknown
    assert outcome.reason == "the answer cannot be read: it is larger than 16 MB"
    assert slowest.cpu_s < MOST_CPU_S, slowest


@each("total", ["1000000000000", "999999999", "-1", "NaN", "1e9", "\u0661", "9" * 5_000])
def test_how_many_pages_a_list_says_it_has_does_not_keep_anybody_reading(total: str) -> None:
    asked: list[str] = []

    def handler(request: RawRequest) -> Reply:
        asked.append(request.target)
        return bare(
            200,
            b"Total-Pages: " + total.encode(),
            body=json.dumps([{"Id": "acme"}, {"Id": "globex"}]).encode(),
        )

    async def deed(client: CyclrClient) -> frozenset[str]:
        return await CatalogueReader(client, next_permit, IMPATIENT).missing_accounts({"acme", "initech"})

    outcome, _ = done(handler, deed)
    # The one that was not listed is asked for by its id, and that answer is none.
    assert outcome == frozenset() or isinstance(outcome, OutcomeUnknown)
    assert len(asked) <= 4


def test_a_catalogue_without_end_is_not_taken_for_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.cyclr.catalogue.MAX_ENTRIES", 4_000)
    number = 0

    def handler(request: RawRequest) -> Reply:
        nonlocal number
        number += 1_000
        return _page([{"Id": number + n, "Name": f"c{n}"} for n in range(1_000)], Total_Pages="999999")

    async def deed(client: CyclrClient) -> list[Connector]:
        return [c async for c in CatalogueReader(client, next_permit, IMPATIENT).iter_connectors("acme")]

    outcome, _ = done(handler, deed)
    assert type(outcome) is OutcomeUnknown
    assert outcome.reason == "the catalogue has no end"


@each(
    "change",
    [
        {"Version": "1." + "0" * 1_000_000},
        {"Version": 5},
        {"Status": "x" * 100_000},
        {"Parameters": 5},
        {"Parameters": [{"Id": 1, "Values": 5}]},
        {"Parameters": [{"Id": 1, "Values": {"a": 1}}]},
        {"Authentication": [[]]},
        {"Description": "\x1b]0;owned\x07\x00\ud800"},
    ],
)
def test_an_odd_connector_is_read_or_told_and_nothing_else(change: dict[str, Any]) -> None:
    async def deed(client: CyclrClient) -> Any:
        return await CatalogueReader(client, next_permit, IMPATIENT).resolve("acme", ConnectorRef("Mail"))

    outcome, slowest = done(answer(200, [{"Id": 7, "Name": "Mail"} | change]), deed)
    assert isinstance(outcome, Connector | OutcomeUnknown), outcome
    assert slowest.cpu_s < MOST_CPU_S, slowest
    if isinstance(outcome, Connector):
        json.dumps(outcome.to_json()).encode()
        assert "\0" not in str(outcome.description)
        str(outcome.description).encode()


def test_an_account_id_that_no_header_can_carry_is_told_in_words() -> None:
    async def deed(client: CyclrClient) -> Any:
        account_id = await CatalogueReader(client, next_permit, IMPATIENT).first_account()
        return await client.get_connectors(FreePermit(), str(account_id), ConnectorRef("Mail"))

    for odd in ("a\r\nX-Evil: 1", "\x1b[31m", "\u202eacme", ""):
        outcome, _ = done(_page([{"Id": odd}], Total_Pages="1"), deed)
        assert type(outcome) is Refused
        assert outcome.status is None


# The token endpoint, and a customer's sign-in


_ODD_GRANTS = [
    pytest.param(bare(200, b"Content-Encoding: gzip, gzip", body=packed(GOOD)), NeverSent, id="packed"),
    pytest.param(bare(200, body=b" " * MB), NeverSent, id="large"),
    pytest.param(answer(200, {"access_token": "x" * 60_000}), NeverSent, id="long"),
    pytest.param(answer(200, {"access_token": ["x"]}), NeverSent, id="list"),
    pytest.param(answer(200, {"access_token": "a\ud800"}), NeverSent, id="surrogate"),
    pytest.param(bare(200, body=b'{"a":' * 10_000), NeverSent, id="deep"),
    pytest.param(bare(400, body=b"<title" * (8 * MB)), CredentialsRefused, id="refused at length"),
    pytest.param(bare(400, b"Content-Encoding: br", body=b"x"), NeverSent, id="refused unreadably"),
    pytest.param(bare(429, b"Retry-After: " + b"9" * 5_000, body=b"x" * (8 * MB)), Throttled, id="throttled"),
]


@pytest.mark.parametrize(("reply", "kind"), _ODD_GRANTS)
def test_no_answer_of_the_token_endpoint_holds_up_the_loop(reply: Reply, kind: type[CyclrError]) -> None:
    def handler(request: RawRequest) -> Reply:
        return reply

    async def scenario(url: str) -> CyclrError:
        async with open_client(url) as client:
            with pytest.raises(CyclrError) as raised:
                await install(client)
            return raised.value

    with hostile_cyclr(handler) as server, watched_loop() as slowest:
        error = asyncio.run(scenario(server.url))
        assert type(error) is kind
        assert {request.target for request in server.requests} == {"/oauth/token"}
    assert slowest.cpu_s < MOST_CPU_S, slowest


@each("lives", [1e999, -1e999, "nan", "1e400", 10**25, [5], {}, None, True, "9" * 60_000])
def test_a_token_that_says_nonsense_of_its_life_is_used(lives: Any) -> None:
    grant = json.dumps({"access_token": "t", "expires_in": lives}).replace("Infinity", "1e999").encode()

    async def scenario(url: str) -> Any:
        async with open_client(url) as client:
            return (await install(client)).id, (await install(client)).id

    token = bare(200, body=grant)
    with hostile_cyclr(with_token(in_turn(answer(200, INSTALLED)), token)) as server:
        assert asyncio.run(scenario(server.url)) == (9, 9)
        assert len(server.called("/oauth/token")) == 1


@each(
    "body",
    [
        {"Token": "x" * 5_000},
        {"Token": "a\r\nSet-Cookie: b"},
        {"Token": "\u202ea"},
        {"Token": 5},
        {"Token": "x" * 200_000},
        [],
    ],
)
def test_what_is_no_sign_in_token_reaches_no_browser(body: Any) -> None:
    async def deed(client: CyclrClient) -> Any:
        return await client.mint_sign_in(FreePermit(), "acme", "someone@example.com")

    unknown(answer(200, body), deed)


EMPTY_LIST = b"HTTP/1.1 200 OK\r\nTotal-Pages: 1\r\nContent-Length: 2\r\n\r\n[]"


@pytest.mark.parametrize("status", [400, 404, 408, 500, 503])
def test_the_token_that_an_error_repeats_is_not_told(status: int) -> None:
    said = {"Message": f"Not with Authorization: Bearer {TOKEN}"}
    for deed in (install, look_once, lambda client: client.find_account(FreePermit(), "acme")):
        outcome, _ = done(answer(status, said), deed)
        # Whether there is such an account is told without the message.
        assert outcome is False or "Bearer [secret]" in str(outcome), outcome


@pytest.mark.parametrize("spelling", [CLIENT_SECRET, "a+b%2Bc"])
def test_the_client_secret_that_an_error_of_the_token_endpoint_repeats_is_not_told(
    spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spelling != CLIENT_SECRET:
        monkeypatch.setattr("tests.integration.cyclr.clients.CLIENT_SECRET", "a b+c")
    said = f"<html><title>client_secret={spelling}&grant_type</title></html>".encode()

    async def scenario(url: str) -> Any:
        async with open_client(url) as client:
            with pytest.raises(NeverSent) as raised:
                await look_once(client)
            return raised.value

    with hostile_cyclr(in_turn(bare(500, body=said))) as server:
        told = asyncio.run(scenario(server.url))
    assert told.reason == (
        "no token: status 500: a web page instead of an answer: client_secret=[secret]&grant_type"
    )


def test_two_answers_to_one_call_are_not_the_answers_to_two() -> None:
    async def deed(client: CyclrClient) -> None:
        for _ in range(3):
            await look_once(client)

    with hostile_cyclr(with_token(in_turn(pieces(EMPTY_LIST * 2)))) as server:

        async def scenario() -> None:
            async with open_client(server.url) as client:
                await deed(client)

        asyncio.run(scenario())
        assert [request.method for request in server.requests] == ["POST", "GET", "GET", "GET"]


@pytest.mark.parametrize("has_loop_seen_it", [True, False])
def test_an_answer_that_came_later_is_not_that_of_the_next_call(has_loop_seen_it: bool) -> None:
    """What a proxy sends that has lost count: an empty list for an account where the target is installed."""
    may_come, has_come = threading.Event(), threading.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        writer.write(EMPTY_LIST)
        await writer.drain()
        await asyncio.to_thread(may_come.wait, 30)
        writer.write(EMPTY_LIST)
        await writer.drain()
        has_come.set()

    installed = answer(200, [INSTALLED], Total_Pages="1")

    async def scenario(url: str) -> Finding:
        async with open_client(url) as client:
            assert (await look_once(client)).found is None
            may_come.set()
            if has_loop_seen_it:
                await asyncio.to_thread(has_come.wait, 30)
                for _ in range(10):
                    await asyncio.sleep(0)
            else:
                has_come.wait(30)
            return await look_once(client)

    with hostile_cyclr(with_token(in_turn(late, installed))) as server:
        found = asyncio.run(scenario(server.url)).found
        assert found is not None
        assert found.id == 9
        assert server.connections == 2
