import json
import threading
from collections.abc import Iterator

import pytest
from redis import Redis
from structlog.testing import capture_logs

from tests.servers import ValkeyServer, valkey_server
from worker.tickets import QUEUE, TASK, Doorbell, make_celery


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


def waiting(server: ValkeyServer) -> list[dict]:
    with Redis.from_url(server.url) as redis:
        return [json.loads(ticket) for ticket in redis.lrange(QUEUE, 0, -1)]


@pytest.mark.parametrize("scheme", ["unix://", "redis+socket://"])
def test_a_ticket_is_sent_only_while_the_queue_holds_none(server: ValkeyServer, scheme: str):
    bell = Doorbell(server.url.replace("unix://", scheme))
    assert [bell.ring(), bell.ring(), bell.ring()] == [True, False, False]
    assert len(waiting(server)) == 1
    with Redis.from_url(server.url) as redis:
        redis.delete(QUEUE)
    assert bell.ring() is True
    assert len(waiting(server)) == 1


def test_a_ticket_carries_no_work(server: ValkeyServer):
    Doorbell(server.url).ring()
    [ticket] = waiting(server)
    assert ticket["headers"]["task"] == TASK
    assert (ticket["headers"]["argsrepr"], ticket["headers"]["kwargsrepr"]) == ("()", "{}")
    assert ticket["headers"]["eta"] is None


def test_doorbells_of_many_threads_leave_few_tickets(server: ValkeyServer):
    bell = Doorbell(server.url)
    threads = [threading.Thread(target=bell.ring) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert 1 <= len(waiting(server)) <= 8
    assert bell.ring() is False


def test_a_broker_that_goes_away_is_no_error_and_one_that_comes_back_is_rung(server: ValkeyServer):
    bell = Doorbell(server.url)
    assert bell.ring() is True
    server.kill()
    with capture_logs() as logs:
        assert bell.ring() is False
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("redis_away", "warning")]
    server.start()
    assert bell.ring() is True


def test_a_broker_that_was_never_there_is_no_error(tmp_path):
    with capture_logs() as logs:
        assert Doorbell(f"unix://{tmp_path}/none.sock").ring() is False
    assert [entry["event"] for entry in logs] == ["redis_away"]


def test_a_broker_that_hangs_holds_the_bell_for_seconds_only(server: ValkeyServer):
    bell = Doorbell(server.url)
    bell.ring()
    server.freeze()
    rung: list[bool] = []
    thread = threading.Thread(target=lambda: rung.append(bell.ring()))
    with capture_logs() as logs:
        thread.start()
        thread.join(15)
    server.resume()
    assert rung == [False]
    assert [entry["event"] for entry in logs] == ["redis_away"]


@pytest.mark.parametrize(
    ("url", "as_celery_spells_it"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("unix:///tmp/v.sock", "redis+socket:///tmp/v.sock"),
        ("unix:///tmp/v.sock?db=1", "redis+socket:///tmp/v.sock?virtual_host=1"),
        ("redis+socket:///tmp/v.sock", "redis+socket:///tmp/v.sock"),
    ],
)
def test_either_spelling_of_a_socket_may_be_given(url: str, as_celery_spells_it: str):
    assert make_celery(url).conf.broker_url == as_celery_spells_it


def test_celery_is_told_to_keep_no_results_and_no_tickets_in_hand():
    conf = make_celery("redis://h:6379/0").conf
    assert (conf.task_ignore_result, conf.task_acks_late, conf.worker_disable_prefetch) == (True, False, True)
    assert (conf.accept_content, conf.broker_connection_max_retries) == (["json"], None)
    assert conf.result_backend is None
