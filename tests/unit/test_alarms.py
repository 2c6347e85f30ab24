"""One line for each fault and minute, and one when it is over."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.clocks import HeldClock
from worker.domain.server_faults import Server, ServerFault
from worker.telemetry import Alarms

READ_ONLY = ServerFault(Server.DATABASE, "25006 read_only_sql_transaction", "cannot execute UPDATE")
FULL = ServerFault(Server.DATABASE, "53300 too_many_connections", "sorry, too many clients already")
AWAY = ServerFault(Server.REDIS, "connection_refused")


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def alarms(clock: HeldClock) -> Alarms:
    return Alarms(clock)


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as logs:
        yield logs


def test_a_fault_is_said_with_its_class_and_the_servers_own_sentence(
    alarms: Alarms, logged: list[Any]
) -> None:
    alarms.failed(READ_ONLY, "sweeping")
    assert logged == [
        {
            "event": "database_away",
            "log_level": "warning",
            "class": "25006 read_only_sql_transaction",
            "said": "cannot execute UPDATE",
            "pid": os.getpid(),
            "doing": "sweeping",
            "since_s": 0,
            "left_out": 0,
        }
    ]


def test_the_same_fault_is_said_once_a_minute_with_how_many_were_left_out(
    alarms: Alarms, logged: list[Any], clock: HeldClock
) -> None:
    for _ in range(62):
        alarms.failed(READ_ONLY, "sweeping")
        clock.go_on(1)
    assert [(line["since_s"], line["left_out"]) for line in logged] == [(0, 0), (60, 59)]


def test_another_class_of_the_same_server_is_another_fault(alarms: Alarms, logged: list[Any]) -> None:
    alarms.failed(READ_ONLY, "sweeping")
    alarms.failed(FULL, "sweeping")
    assert [line["class"] for line in logged] == [READ_ONLY.kind, FULL.kind]


def test_it_is_over_when_all_that_failed_has_gone_well(
    alarms: Alarms, logged: list[Any], clock: HeldClock
) -> None:
    alarms.failed(READ_ONLY, "writing outcomes")
    alarms.failed(READ_ONLY, "sweeping")
    clock.go_on(34)
    alarms.went_well(Server.DATABASE, "sweeping")
    alarms.went_well(Server.DATABASE, "looking")
    assert [line["event"] for line in logged] == ["database_away"]
    alarms.went_well(Server.DATABASE, "writing outcomes")
    assert logged[1:] == [
        {
            "event": "database_back",
            "log_level": "info",
            "class": READ_ONLY.kind,
            "after_s": 34,
            "times": 2,
            "pid": os.getpid(),
        }
    ]


def test_what_is_never_tried_again_does_not_last_for_ever(
    alarms: Alarms, logged: list[Any], clock: HeldClock
) -> None:
    alarms.failed(READ_ONLY, "saying farewell")
    clock.go_on(121)
    alarms.went_well(Server.DATABASE, "sweeping")
    assert [line["event"] for line in logged] == ["database_away", "database_back"]


def test_a_fault_that_comes_and_goes_within_a_minute_is_said_once(
    alarms: Alarms, logged: list[Any], clock: HeldClock
) -> None:
    for _ in range(10):
        alarms.failed(AWAY, "ringing")
        alarms.went_well(Server.REDIS, "ringing")
        clock.go_on(5)
    assert [line["event"] for line in logged] == ["redis_away", "redis_back"]


def test_servers_are_apart(alarms: Alarms, logged: list[Any]) -> None:
    alarms.failed(READ_ONLY, "working")
    alarms.failed(AWAY, "working")
    alarms.went_well(Server.REDIS, "working")
    assert [line["event"] for line in logged] == ["database_away", "redis_away", "redis_back"]
    assert alarms.find(Server.DATABASE) == READ_ONLY
    assert alarms.find(Server.REDIS) is None


def test_single_failures_of_calls_are_no_alarm(alarms: Alarms, logged: list[Any]) -> None:
    broken = ServerFault(Server.CYCLR, "status_500")
    for _ in range(10):
        for _ in range(4):
            alarms.failed(broken, "calling Cyclr", after=5)
        alarms.went_well(Server.CYCLR, "calling Cyclr")
    assert logged == []
    for _ in range(5):
        alarms.failed(broken, "calling Cyclr", after=5)
    assert [(line["event"], line["class"]) for line in logged] == [("cyclr_away", "status_500")]


def test_failures_are_counted_by_a_label_of_a_bounded_set(alarms: Alarms) -> None:
    for kind in ("READONLY", "READONLY", "WHATEVER"):
        alarms.failed(ServerFault(Server.REDIS, kind), "ringing")
    assert alarms.counts() == {(Server.REDIS, "READONLY"): 2, (Server.REDIS, "other"): 1}


def test_an_error_of_ours_is_told_by_its_class_and_place_once_a_minute(
    alarms: Alarms, logged: list[Any]
) -> None:
    for _ in range(3):
        try:
            raise KeyError("hunter2")
        except KeyError as error:
            alarms.crashed("work_failed", error, doing="sweeping")
    [line] = logged
    assert (line["event"], line["error"], line["doing"]) == ("work_failed", "KeyError", "sweeping")
    assert line["where"][-1].startswith("test_alarms.py:")
    assert "hunter2" not in str(line)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            READ_ONLY,
            "The database answers 25006 read_only_sql_transaction: cannot execute UPDATE",
        ),
        (AWAY, "Redis does not answer (connection_refused)"),
        (ServerFault(Server.CYCLR, "other", ""), "Cyclr does not answer"),
        (ServerFault(Server.CYCLR, "status_503"), "Cyclr answers status_503"),
    ],
)
def test_a_fault_in_words(fault: ServerFault, words: str) -> None:
    assert str(fault) == words
