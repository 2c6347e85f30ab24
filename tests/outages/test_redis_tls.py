"""A deployment whose Redis is reached over TLS only."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.certificates import Authority, server_context
from tests.end_to_end.fleet.fleet import Fleet, end, open_fleet, worker_processes
from tests.end_to_end.processes.commands import eventually
from tests.postgres import Databases
from tests.redis_proxy import redis_proxy
from tests.servers import valkey_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def bare(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Released; no process yet."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "fleet"
    folder.mkdir()
    with open_fleet(folder, databases, CYCLR_CALLS_PER_SECOND="40", CYCLR_BURST="5") as fleet:
        fleet.release()
        yield fleet
        fleet.assert_never_twice()
        fleet.assert_no_secret_was_said()


@contextmanager
def working(fleet: Fleet) -> Iterator[None]:
    fleet.launch("sweep")
    fleet.launch_worker("--concurrency", "1")
    yield
    assert end(fleet.worker) == 0


@pytest.mark.parametrize("way", ["ssl_ca_certs", "SSL_CERT_FILE", "a certificate of ours"])
def test_a_whole_job_goes_over_tls(bare: Fleet, tmp_path: Path, way: str) -> None:
    authority = Authority(tmp_path)
    signed, client = authority.sign("redis", "localhost"), authority.sign("client")
    clients_of = authority.file if way == "a certificate of ours" else None
    with redis_proxy(bare.valkey.url, server_context(signed, clients_of=clients_of)) as proxy:
        url = f"rediss://localhost:{proxy.port}/0"
        match way:
            case "SSL_CERT_FILE":
                bare.settings["SSL_CERT_FILE"] = str(authority.file)
            case "ssl_ca_certs":
                url += f"?ssl_ca_certs={authority.file}"
            case _:
                url += f"?ssl_ca_certs={authority.file}&ssl_certfile={client.certificate}&ssl_keyfile={client.key}"
        bare.settings["REDIS_URL"] = url
        with working(bare):
            job_id = bare.submit([f"a{number}" for number in range(20)])
            bare.wait_for(job_id, "completed")
        assert bare.job(job_id).installed == 20
        assert proxy.commands["LPUSH"] >= 1  # a ticket
        assert proxy.commands["BRPOP"] >= 1
        assert proxy.commands["EVALSHA"] >= 1


def test_a_certificate_that_becomes_wrong_stops_all_calls_until_it_is_right_again(
    bare: Fleet, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    right = server_context(authority.sign("redis", "localhost"))
    wrong = server_context(authority.sign("expired", "localhost", is_expired=True))
    with redis_proxy(bare.valkey.url, right) as proxy:
        bare.settings["REDIS_URL"] = (
            f"rediss://bulk:hunter2@localhost:{proxy.port}/0?ssl_ca_certs={authority.file}"
        )
        bare.secrets.add("hunter2")
        with allowed(bare, "bulk", "hunter2"), working(bare):
            job_id = bare.submit([f"a{number}" for number in range(80)])
            eventually(lambda: bare.job(job_id).installed >= 5, "it is under way")
            proxy.change_certificate(wrong)
            told, came = proxy.received, proxy.taken
            calls = bare.wait_for_silence()
            eventually(lambda: proxy.taken >= came + 10, "it is tried again and again")
            assert len(bare.simulator.ledger.calls) == calls
            assert proxy.received == told
            assert worker_processes(bare.worker)
            proxy.change_certificate(right)
            bare.wait_for(job_id, "completed")
        assert bare.job(job_id).installed == 80


@contextmanager
def allowed(fleet: Fleet, user: str, password: str) -> Iterator[None]:
    with redis.Redis.from_url(fleet.valkey.url) as client:
        client.execute_command("ACL", "SETUSER", user, "on", f">{password}", "~*", "&*", "+@all")
        yield


@pytest.mark.parametrize("mode", ["--cluster-enabled", "--sentinel"])
def test_a_redis_of_another_kind_ends_every_process_at_its_start_in_words(bare: Fleet, mode: str) -> None:
    options = (mode, "yes") if mode == "--cluster-enabled" else (mode,)
    kind = "a node of a Redis Cluster" if mode == "--cluster-enabled" else "a Redis Sentinel"
    with valkey_server(*options) as server:
        processes = [bare.launch(name, REDIS_URL=server.url) for name in ("worker", "sweep")]
        processes.append(bare.launch("web", REDIS_URL=server.url, PORT="0"))
        for process in processes:
            assert process.wait() != 0
            assert f"REDIS_URL: {kind} answers there: name one Redis or Valkey that is neither" in process.err
