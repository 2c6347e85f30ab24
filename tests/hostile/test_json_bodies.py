"""What one request with a body of JSON may cost the web process, and everybody else who asks it something meanwhile."""

import http.client
import json
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import psutil
import pytest

from tests.browser.served import Served
from tests.end_to_end.harness import MAIL, small_world
from tests.hostile.loops import watched_loop
from tests.integration.store.databases import SqliteStores
from tests.integration.web.site import Site, new_site
from tests.plain_http import http_client
from tests.served.home import client_of, open_home
from tests.servers import valkey
from worker.simulator.server import SimulatorThread
from worker.web.api.submitting import faults_of_options
from worker.web.http_errors import HttpError
from worker.web.json_items import JobBody
from worker.web.receiving import PIECE_BYTES

MOST_CPU_S = 0.1
BYTES = 19_000_000
MOST_GROWTH_BYTES = 2 * BYTES
MOST_WAIT_S = 5.0  # for /healthz, on a machine that does other things too; it was 92 s


def filled(
    unit: bytes, *, before: bytes = b'{"items":[', after: bytes = b"{}]}", between: bytes = b","
) -> bytes:
    """A body of 19 MB made of the same again and again."""
    count = (BYTES - len(before) - len(after)) // (len(unit) + len(between))
    return before + (unit + between) * count + after


# What comes of each: the status, the code, and how many faults are shown.
BODIES: dict[str, tuple[Callable[[], bytes], str, int]] = {
    "numbers for texts": (lambda: filled(b'{"account_id":1,"api_key":2}'), "invalid_request", 1_000),
    "many numbers in each item": (
        lambda: filled(b'{"account_id":1,' + b",".join(b'"x_%d":1' % n for n in range(25)) + b"}"),
        "invalid_request",
        1_000,
    ),
    "numbers for items": (lambda: filled(b"1"), "invalid_request", 1_000),
    "texts for items": (lambda: filled(b'"acme"'), "invalid_request", 1_000),
    "lists for items": (lambda: filled(b"[]"), "invalid_request", 1_000),
    "empty items": (lambda: filled(b"{}"), "problems_in_file", 1_000),
    "items with lists": (lambda: filled(b'{"account_id":[[[["a"]]]]}'), "invalid_request", 1_000),
    "one value in many lists": (
        lambda: b'{"items":[' + b"[" * (BYTES // 2) + b"]" * (BYTES // 2) + b"]}",
        "invalid_request",
        1,
    ),
    "one item, nested": (
        lambda: b'{"items":[{"a":' + b"[" * (BYTES // 2) + b"]" * (BYTES // 2) + b"}]}",
        "invalid_request",
        1,
    ),
    "lists side by side in a value": (
        lambda: filled(b"[]", before=b'{"items":[[', after=b"[]]]}"),
        "invalid_request",
        1,
    ),
    "lists never closed": (lambda: b'{"items":' + b"[" * BYTES, "invalid_request", 1),
    "objects never closed": (lambda: b'{"a":' * (BYTES // 5), "invalid_request", 1),
    "another list": (lambda: b"[" * BYTES, "invalid_request", 1),
    "a key for each value": (
        lambda: b'{"items":[{' + b",".join(b'"%d":""' % n for n in range(1_400_000)) + b"}]}",
        "invalid_request",
        1,
    ),
    "keys of their own in each item": (
        lambda: b'{"items":[' + b",".join(b'{"x_%d":"a"}' % n for n in range(900_000)) + b"]}",
        "invalid_request",
        0,
    ),
    "unknown keys in each item": (
        lambda: b'{"items":[' + b",".join(b'{"k%d":1}' % n for n in range(1_000_000)) + b"]}",
        "invalid_request",
        999,  # of which 499 are columns too many
    ),
    "one key, often": (lambda: filled(b'{"account_id":"a","account_id":"b"}'), "invalid_request", 1_000),
    "keys beside the items": (
        lambda: b"{" + b",".join(b'"%d":1' % n for n in range(1_500_000)) + b"}",
        "invalid_request",
        1_000,
    ),
    "a whole number": (lambda: b'{"items":[' + b"9" * BYTES + b"]}", "invalid_request", 1),
    "whole numbers": (lambda: filled(b'{"account_id":' + b"9" * 4_000 + b"}"), "invalid_request", 1_000),
    "a long text": (lambda: b'{"items":[{"account_id":"' + b"a" * BYTES + b'"}]}', "invalid_request", 1),
    "a text never closed": (lambda: b'{"items":[{"account_id":"' + b"a" * BYTES, "invalid_request", 1),
    "a long key": (lambda: b'{"' + b"a" * BYTES + b'":1}', "invalid_request", 2),
    "escapes": (lambda: b'{"items":["' + b"\\ud800" * (BYTES // 6) + b'"]}', "invalid_request", 1),
    "halves of characters": (lambda: filled(b'{"account_id":"\\ud800"}'), "invalid_request", 1_000),
    "letters of four bytes": (
        lambda: filled('{"account_id":"😀","b":1}'.encode()),
        "invalid_request",
        1_000,
    ),
    "no UTF-8": (lambda: b'{"items":["' + b"\xff" * BYTES, "invalid_request", 1),
    "blanks": (lambda: b" " * BYTES, "invalid_request", 1),
    "zeros": (lambda: b"\0" * BYTES, "invalid_request", 1),
    "options": (
        lambda: filled(b'"x"', before=b'{"options":{"as_written":[', after=b'""]}}'),
        "invalid_request",
        1,
    ),
    "many small options": (
        lambda: b'{"options":{"as_written":[' + b",".join([b"1"] * 9_000) + b']},"items":[]}',
        "invalid_request",
        1_000,
    ),
    "constants": (lambda: filled(b'{"account_id":NaN}'), "invalid_request", 1),
    "texts that are right": (
        lambda: filled(
            json.dumps({"account_id": "nowhere", "connector": MAIL, "reference": "r" * 5_000}).encode(),
            after=b'{"account_id":"nowhere","connector":"Northwind Mail"}]}',
        ),
        "problems_in_file",
        3,
    ),
}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("office")
    with (
        valkey() as redis_url,
        SimulatorThread(small_world("acme")) as simulator,
        new_site(SqliteStores(folder), redis_url, simulator, folder) as site,
    ):
        client = site.client(site.key())
        client.post("/v1/jobs", json={"items": [{}]})  # FastAPI works out a route when it is first asked for
        yield site


def post(client: httpx.Client, body: bytes, path: str = "/v1/jobs") -> httpx.Response:
    return client.post(path, content=body, headers={"Content-Type": "application/json"}, timeout=300)


@pytest.mark.parametrize(("make", "code", "shown"), BODIES.values(), ids=BODIES.keys())
def test_no_body_keeps_the_event_loop(office: Site, make: Callable[[], bytes], code: str, shown: int) -> None:
    body = make()
    client = office.client(office.key())
    with watched_loop(office.server._thread.ident) as slowest:
        answer = post(client, body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text[:500]
    errors = answer.json().get("errors", [])
    assert len(errors) == shown, errors[:3]
    assert all(len(str(error)) < 500 for error in errors)
    assert slowest.cpu_s < MOST_CPU_S, slowest


def test_a_small_body_is_small(office: Site) -> None:
    client = office.client(office.key())
    for path, key in (("retry", "codes"), ("resume", "first"), ("authorisations", "expires_in_days")):
        body = b'{"%s": [' % key.encode() + b'"x",' * 200_000 + b'"x"]}'
        with watched_loop(office.server._thread.ident) as slowest:
            answer = post(client, body, f"/v1/jobs/261121-bcdfgh/{path}")
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large"), path
        assert slowest.cpu_s < MOST_CPU_S, slowest
        with watched_loop(office.server._thread.ident) as slowest:
            keys = b"{" + b",".join(b'"%d":1' % n for n in range(1_600)) + b"}"
            assert post(client, keys, f"/v1/jobs/261121-bcdfgh/{path}").status_code == 422
        assert slowest.cpu_s < MOST_CPU_S, slowest


def test_so_many_lists_at_once_that_they_do_not_fit_are_turned_away(office: Site) -> None:
    """Each holds its 19 MB until its end has come, which it has not."""
    key = office.key()
    port = int(office.url.rpartition(":")[2])
    begun = b'{"items":[' + b" " * (BYTES - 1_000)

    def connect(stack: ExitStack) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        stack.callback(connection.close)
        connection.putrequest("POST", "/v1/jobs")
        for name, value in (
            ("Authorization", f"Bearer {key}"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(begun) + 2)),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        return connection

    with ExitStack() as stack:
        five = [connect(stack) for _ in range(5)]
        for connection in five:
            connection.send(begun)
        one_more = connect(stack)
        assert one_more.sock is not None
        for at in range(0, len(begun), 1 << 16):
            if select.select([one_more.sock], [], [], 0)[0]:
                break
            one_more.send(begun[at : at + (1 << 16)])
        answer = one_more.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (503, "too_busy")
        for connection in five:
            connection.send(b"]}")
            assert connection.getresponse().status == 422
    # What they held is free again.
    client = office.client(key)
    assert post(client, BODIES["numbers for items"][0]()).status_code == 422


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with open_home(tmp_path_factory.mktemp("served")) as served:
        yield served


class Asked:
    """`/healthz`, asked all the while. `longest_s`: that an answer took."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.longest_s = 0.0
        self.count = 0

    def __enter__(self) -> "Asked":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()

    def _ask(self) -> None:
        with http_client(base_url=self._url, timeout=120) as client:
            while not self._has_ended.wait(0.02):
                began = time.monotonic()
                assert client.get("/healthz").status_code == 200
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.count += 1


class Grown:
    """The most memory that a process has held while the context lasted, beyond what it held before."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._before = self._peak = process.memory_info().rss

    @property
    def by_bytes(self) -> int:
        return self._peak - self._before

    def __enter__(self) -> "Grown":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._has_ended.wait(0.01):
            self._peak = max(self._peak, self._process.memory_info().rss)


# Those that took the longest, or the most.
HEAVY = (
    "many numbers in each item",
    "numbers for texts",
    "numbers for items",
    "one item, nested",
    "lists side by side in a value",
    "a key for each value",
    "letters of four bytes",
    "a long text",
    "texts that are right",
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HEAVY)
def test_the_server_answers_everybody_else_meanwhile_and_takes_twice_the_body_at_most(
    served: Served, kind: str
) -> None:
    body = BODIES[kind][0]()
    with client_of(served) as client:
        post(client, b'{"items":[{}]}')
        with Grown(psutil.Process(served.command.pid)) as grown, Asked(served.url) as asked:
            answer = post(client, body)
    assert answer.status_code == 422
    assert asked.count > 0
    assert asked.longest_s < MOST_WAIT_S
    assert grown.by_bytes <= MOST_GROWTH_BYTES, f"it grew by {grown.by_bytes / 1e6:.0f} MB"


# How it is read


def told(pieces: list[bytes]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """What is wrong with a body, and its lines where nothing is."""
    body = JobBody(pieces, faults_of_options)
    try:
        body.check()
    except HttpError as error:
        return [fault.model_dump(exclude_none=True) for fault in error.errors], []
    return [], list(body.lines())


@pytest.mark.parametrize("size", [1, 2, 3, 7, PIECE_BYTES])
@pytest.mark.parametrize(
    "text",
    [
        '\ufeff {"options": {"first": 1}, "items": [{"account_id": "a\\"}]\\\\", "x_é😀": "b\\u00e9\\ud83d\\ude00"}, {"account_id": null, "api_key": "k"}]} ',
        '{"items": [{"account_id": "a", "b": [{"c": "]}\\""}, 1.5e3, null]}, "x", 5, [[]], {"account_id": ""}]}',
        '{"items": [{"account_id": "a"}\n, nothing]}',
        '{"items": [{"account_id": "a",}]}',
        '{"items": [{"account_id": "a"}}',
        '{"items": [{"account_id": "a"}]} {',
        '{"items": [{"account_id" "a"}]}',
        '{"items": [{"account_id": "a"} {"account_id": "b"}]}',
        '{"items": [{"account_id": "a\nb"}]}',
        '{"items": [,]}',
        '{"items": {"a": 1}, "items": [], "more": {"b": "c"}, "a": "b"}',
        '{"items" : [ ] }',
        '{"options": [[], "]"], "items": 5}',
        '{"options": nonsense}',
        '{"items": [[{"a": "}"}, [[]]], {"account_id": "a"}, {"a": {}}], "b": {"c": ["]"]}}',
        "5",
        "",
    ],
)
def test_where_the_pieces_of_a_body_end_makes_no_difference(text: str, size: int) -> None:
    whole = text.encode()
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert told(pieces) == told([whole])


def test_what_is_no_json_is_told_with_its_place() -> None:
    for text, place in (
        ('{"items": [{"account_id": "a"}\n, nothing]}', "line 2, character 3"),
        ('{"items": [{"account_id": "a"},\n {"account_id": "b",}]}', "line 2, character 21"),
        ('{"items": [{"account_id": "a"}]} {', "line 1, character 34"),
        ('{"items": [\n\n', "line 3, character 1"),
    ):
        assert told([text.encode()])[0] == [
            {"message": f"expected a body of JSON; at {place} it is not JSON"}
        ], text


def test_all_values_of_an_item_are_told() -> None:
    text = b'{"items": [{"account_id": [1], "api_key": {"a": "}"}, "name": 5, "reference": true, "description": 1.5}]}'
    assert [(fault["column"], fault["message"]) for fault in told([text])[0]] == [
        ("account_id", "expected a text, got a list"),
        ("api_key", "expected a text, got an object"),
        ("name", "expected a text, got a number: write it in quotes"),
        ("reference", "expected a text, got true or false: write it in quotes"),
        ("description", "expected a text, got a number: write it in quotes"),
    ]


def test_reading_ends_at_the_thousandth_fault() -> None:
    body = JobBody([b'{"items": [' + b'{"account_id": 1},' * 5_000 + b"{}]}"], faults_of_options)
    with pytest.raises(HttpError) as raised:
        body.check()
    assert (len(raised.value.errors), raised.value.error_count) == (1_000, 1_000)
    assert raised.value.detail == "The request is not as expected. It was not read any further."


def test_a_part_is_never_taken_for_the_whole() -> None:
    """Nothing is wrong with what was read, and there is more than anybody reads."""
    good = b'{"items": [{"account_id": "a"}], "options": '
    body = JobBody([good + b"[" * 2_000_000], lambda options: [])
    with pytest.raises(HttpError) as raised:
        body.check()
    assert raised.value.status_code == 422


def test_the_lines_are_those_of_the_items() -> None:
    text = '{"items": [{"api_key": "k\\"1\\"", "account_id": "é"}, {"account_id": "b", "x_a": "1\\n2"}]}'
    assert told([text.encode()]) == (
        [],
        [
            b'"account_id","api_key","x_a"\r\n"\xc3\xa9","k""1""",""\r\n',
            b'"b","","1\n2"\r\n',
        ],
    )
