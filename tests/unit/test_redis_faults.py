"""What is said of a Redis that cannot be used."""

import asyncio
import socket
import ssl

import pytest
from kombu.exceptions import OperationalError
from redis import exceptions
from redis._parsers.base import BaseParser

from worker.redis_faults import is_error_reply, redis_fault


def reply(text: str) -> Exception:
    """As redis-py reads an error reply."""
    error = BaseParser.parse_error(text)
    assert isinstance(error, Exception)
    return error


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("READONLY You can't write against a read only replica.", "READONLY"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        ("OOM command not allowed when used memory > 'maxmemory'. script: 5c0, on @user_script:1.", "OOM"),
        ("NOPERM User bulk has no permissions to run the 'evalsha' command", "NOPERM"),
        ("LOADING Redis is loading the dataset in memory", "LOADING"),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "MASTERDOWN"),
        ("CLUSTERDOWN The cluster is down", "CLUSTERDOWN"),
        ("MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to", "MISCONF"),
        ("NOREPLICAS Not enough good replicas to write.", "NOREPLICAS"),
        ("NOAUTH Authentication required.", "NOAUTH"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS"),
        ("BUSY Redis is busy running a script.", "BUSY"),
        ("UNBLOCKED force unblock from blocking operation, instance state changed", "UNBLOCKED"),
        ("ERR max number of clients reached", "ERR max number of clients reached"),
        ("ERR DB index is out of range", "ERR DB index is out of range"),
        ("ERR unknown command 'AUTH', with args beginning with: 'hunter2'", "ERR unknown command"),
        (
            "ERR Error running script (call to f_5c0): @user_script:9: @user_script: 9: -READONLY You can't",
            "READONLY",
        ),
    ],
)
def test_an_error_reply_is_told_by_its_own_first_word(text: str, fault: str) -> None:
    assert redis_fault(reply(text)) == fault


def test_an_error_reply_to_one_of_several_commands_keeps_its_word() -> None:
    known, unknown = reply("OOM command not allowed"), reply("MISCONF Valkey is configured to save")
    for error in (known, unknown):
        error.args = (f"Command # 2 (SADD key hunter2) of pipeline caused error: {error.args[0]}",)
    assert [redis_fault(known), redis_fault(unknown)] == ["OOM", "MISCONF"]


def test_the_fault_is_found_below_what_a_library_made_of_it() -> None:
    wrapped = OperationalError("it failed")
    wrapped.__cause__ = reply("READONLY You can't write against a read only replica.")
    assert redis_fault(wrapped) == "READONLY"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (exceptions.TimeoutError("Timeout reading from socket"), "timeout"),
        (TimeoutError("timed out"), "timeout"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (ConnectionResetError(104, "Connection reset by peer"), "connection closed"),
        (asyncio.IncompleteReadError(b"", 1), "connection closed"),
        (exceptions.ConnectionError("Connection closed by server."), "connection closed"),
        (socket.gaierror(-2, "Name or service not known"), "host name not found"),
        (FileNotFoundError(2, "No such file or directory"), "no such socket"),
        (OSError(113, "No route to host"), "no route to host"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS failed: no reason given"),
        (exceptions.MaxConnectionsError("Too many connections"), "too many connections of this process"),
        (exceptions.ConnectionError("something else"), "ConnectionError"),
        (KeyError("hunter2"), "KeyError"),
    ],
)
def test_what_became_of_a_connection_is_told_in_words(error: Exception, fault: str) -> None:
    assert redis_fault(error) == fault


def test_a_refused_connection_is_told_apart_from_an_error_reply() -> None:
    lost = exceptions.ConnectionError("Error 111 connecting to 127.0.0.1:1. Connection refused.")
    lost.__context__ = ConnectionRefusedError(111, "Connection refused")
    assert redis_fault(lost) == "connection refused"
    assert not is_error_reply(lost)
    assert is_error_reply(reply("LOADING Redis is loading the dataset in memory"))
    assert is_error_reply(reply("NOAUTH Authentication required."))
    assert is_error_reply(reply("MISCONF Redis is configured to save RDB snapshots"))
