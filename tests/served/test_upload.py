"""A file of 200 MB, handed in to `cyclr-bulk serve`."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.browser.world import MAIL, add_accounts
from tests.served.home import client_of, open_home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MEGABYTE = 1_000_000
UPLOAD_BYTES = 200 * MEGABYTE
MOST_GROWTH_BYTES = 50 * MEGABYTE
LONG_ROWS = 5_000


def test_an_upload_of_200_megabytes_grows_the_server_by_50_at_most(tmp_path: Path):
    accounts = [f"large-{number:06}" for number in range(LONG_ROWS)]
    with open_home(tmp_path) as served, client_of(served) as client:
        served.simulator.call(lambda world: add_accounts(world, [*accounts, "warm"]))
        peak = Peak(psutil.Process(served.command.pid))
        warm = "account_id,connector,api_key,note\nwarm,Northwind Mail,key,x\n"
        headers = {"Content-Type": "text/csv"}
        for _ in range(3):
            asked = {"validate_only": "true"}
            client.post("/v1/jobs", content=warm, headers=headers, params=asked).raise_for_status()
        with peak:
            answer = client.post(
                "/v1/jobs", content=long_file(accounts), headers=headers, params={"first": 1}, timeout=500
            )
    assert answer.status_code == 202, answer.text
    assert answer.json()["total"] == LONG_ROWS
    assert peak.growth_bytes <= MOST_GROWTH_BYTES, f"it grew by {peak.growth_bytes / MEGABYTE:.0f} MB"


def long_file(accounts: list[str]) -> Iterator[bytes]:
    yield b"account_id,connector,api_key,note\n"
    note = "n" * (UPLOAD_BYTES // len(accounts) - 60)
    for start in range(0, len(accounts), 100):
        piece = accounts[start : start + 100]
        yield "".join(f"{each},{MAIL},key-of-{each}-5f1c,{note}\n" for each in piece).encode()


class Peak:
    """The most memory that a process has held while the context lasted, beyond what it held before."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._peak = self._before = 0

    @property
    def growth_bytes(self) -> int:
        return self._peak - self._before

    def __enter__(self) -> "Peak":
        self._before = self._peak = self._process.memory_info().rss
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._has_ended.wait(0.02):
            self._peak = max(self._peak, self._process.memory_info().rss)
