"""What REDIS_URL may say, and that both libraries read the same in it."""

import ssl
from pathlib import Path

import pytest
from kombu import Connection
from redis.asyncio.connection import parse_url as read_by_asyncio_redis
from redis.connection import parse_url as read_by_redis

from tests.certificates import Authority
from worker.redis_url import parse_redis_url, require_redis_url

MAY_SAY = "db, virtual_host, ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_cert_reqs, ssl_check_hostname"
ONE = (
    "name one server, or an address that leads to the one that may be written to, such as redis://host:6379/0"
)
OFF = (
    "cannot be switched off: whoever answers would be believed. Name your own CA with ssl_ca_certs=FILE or"
    " SSL_CERT_FILE, and the host as it stands in the server's certificate"
)


@pytest.mark.parametrize(
    ("written", "for_redis_py", "for_celery"),
    [
        ("redis://redis:6379/0", "redis://redis:6379/0", "redis://redis:6379/0"),
        (" REDIS://Redis ", "redis://redis", "redis://redis"),
        ("redis://h?db=3", "redis://h/3", "redis://h/3"),
        ("redis://h?virtual_host=3", "redis://h/3", "redis://h/3"),
        ("redis:///2", "redis://127.0.0.1/2", "redis://127.0.0.1/2"),
        ("redis://[::1]:6379", "redis://[::1]:6379", "redis://[::1]:6379"),
        ("redis://:p%3Bw%2F@h", "redis://:p%3Bw%2F@h", "redis://:p%3Bw%2F@h"),
        ("redis://bulk:p;w@h", "redis://bulk:p%3Bw@h", "redis://bulk:p%3Bw@h"),
        ("unix:///run/v.sock?db=1", "unix:///run/v.sock?db=1", "redis+socket:///run/v.sock?virtual_host=1"),
        ("redis+socket:///run/v.sock", "unix:///run/v.sock", "redis+socket:///run/v.sock"),
        (
            "redis+socket:///run/v.sock?virtual_host=1",
            "unix:///run/v.sock?db=1",
            "redis+socket:///run/v.sock?virtual_host=1",
        ),
        (
            "rediss://redis:6380/0",
            "rediss://redis:6380/0?ssl_cert_reqs=required&ssl_check_hostname=true",
            "rediss://redis:6380/0?ssl_cert_reqs=required&ssl_check_hostname=true",
        ),
    ],
)
def test_each_library_is_given_its_own_spelling(written: str, for_redis_py: str, for_celery: str) -> None:
    url = parse_redis_url(written)
    assert "p;w" not in repr(url)
    assert (url.for_redis_py(), url.for_celery()) == (for_redis_py, for_celery)
    assert parse_redis_url(url.for_celery()).for_redis_py() == for_redis_py


@pytest.mark.parametrize(
    "written",
    [
        "rediss://u:p%40w@redis.example:6380/2",
        "rediss://u:p%40w@redis.example:6380/2?ssl_cert_reqs=required",
        "rediss://u:p%40w@redis.example:6380/2?ssl_cert_reqs=CERT_REQUIRED&ssl_check_hostname=True",
        "rediss://u:p%40w@redis.example:6380?db=2&ssl_check_hostname=1",
    ],
)
def test_a_certificate_and_its_host_are_asked_for_by_both_libraries_whatever_the_spelling(
    written: str,
) -> None:
    url = parse_redis_url(f"{written}{'&' if '?' in written else '?'}ssl_ca_certs=/etc/our%20ca.pem")
    expected = {"host": "redis.example", "port": 6380, "db": 2, "username": "u", "password": "p@w"}
    for read in (read_by_redis(url.for_redis_py()), read_by_asyncio_redis(url.for_redis_py())):
        connection = read.pop("connection_class")(**read)
        assert {name: getattr(connection, name) for name in expected} == expected
        assert (connection.cert_reqs, connection.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert connection.ca_certs == "/etc/our ca.pem"
    broker = Connection(url.for_celery())
    assert (broker.transport_cls, broker.hostname, broker.port) == ("rediss", "redis.example", 6380)
    assert (broker.virtual_host, broker.userid, broker.password) == ("2", "u", "p@w")
    assert broker.ssl == {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
        "ssl_ca_certs": "/etc/our ca.pem",
    }


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("hunter2", "expected a URL such as redis://host:6379/0"),
        ("https://hunter2", "expected a URL such as redis://host:6379/0"),
        ("redis://:hunter2/x@h/0", "expected a URL such as redis://host:6379/0"),
        ("redis://:hunter2#x@h/0", "expected a URL such as redis://host:6379/0"),
        ("redis://:7?hunter2=x@h/0", "expected a URL such as redis://host:6379/0"),
        (
            "redis://h/hunter2",
            "expected a URL such as redis://host:6379/0: what stands behind the host is the number of a database",
        ),
        ("unix://v.sock", "expected the path of a socket, such as unix:///run/redis.sock"),
        ("sentinel://h:26379/hunter2", f"Redis Sentinel is not supported: {ONE}"),
        ("redis+sentinel://:hunter2@h:26379", f"Redis Sentinel is not supported: {ONE}"),
        ("rediss+cluster://:hunter2@h", f"Redis Cluster is not supported: {ONE}"),
        ("redis://:hunter2@a:6379,b:6379/0", f"several hosts are not supported: {ONE}"),
        ("redis://:hunter2@a:6379;redis://:hunter2@b:6379", f"several hosts are not supported: {ONE}"),
        (
            "redis://h?socket_timeout=1",
            f"socket_timeout is not known here, or is said twice: the URL may say {MAY_SAY}",
        ),
        ("redis://h?db=1&db=2", f"db is not known here, or is said twice: the URL may say {MAY_SAY}"),
        (
            "redis://h?Hunter2",
            f"what stands behind the question mark is not known here, or is said twice: the URL may say {MAY_SAY}",
        ),
        ("redis://h?db=", "db has no value"),
        (
            "redis://h?ssl_ca_certs=/ca.pem",
            "ssl_ca_certs is for rediss://; nothing is encrypted over redis://",
        ),
        (
            "unix:///s?ssl_cert_reqs=required",
            "ssl_cert_reqs is for rediss://; nothing is encrypted over unix://",
        ),
        ("rediss://h?ssl_cert_reqs=none", f"ssl_cert_reqs {OFF}"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", f"ssl_cert_reqs {OFF}"),
        ("rediss://h?ssl_cert_reqs=optional", f"ssl_cert_reqs {OFF}"),
        ("rediss://h?ssl_check_hostname=false", f"ssl_check_hostname {OFF}"),
        ("rediss://h?ssl_keyfile=/k", "ssl_keyfile needs ssl_certfile, the certificate that the key is of"),
        (
            "rediss://h?ssl_ca_certs=/no/ca.pem",
            "ssl_ca_certs: /no/ca.pem: it cannot be read: No such file or directory",
        ),
    ],
)
def test_what_the_url_may_not_say_is_refused_in_words_without_a_password(written: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        require_redis_url(written)
    assert str(caught.value) == problem
    assert "hunter2" not in repr(caught.value)


def test_files_that_hold_something_else_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.sign("client")
    sealed = authority.sign("sealed", passphrase=b"hunter2")
    other = tmp_path / "other.txt"
    other.write_text("not a certificate")

    def problem(**files: Path) -> str:
        query = "&".join(f"{name}={path}" for name, path in files.items())
        with pytest.raises(ValueError) as caught:
            require_redis_url(f"rediss://h?{query}")
        return str(caught.value)

    require_redis_url(
        f"rediss://h?ssl_ca_certs={authority.file}&ssl_certfile={client.certificate}&ssl_keyfile={client.key}"
    )
    key_expected = "expected the certificate's key in PEM, without a passphrase"
    assert problem(ssl_ca_certs=other) == f"ssl_ca_certs: {other}: expected certificates in PEM"
    assert problem(ssl_certfile=other) == f"ssl_certfile: {other}: expected certificates in PEM"
    assert problem(ssl_certfile=client.certificate) == f"ssl_certfile: {client.certificate}: {key_expected}"
    of_another = problem(ssl_certfile=client.certificate, ssl_keyfile=sealed.key)
    assert of_another == f"ssl_keyfile: {sealed.key}: {key_expected}"
    with_passphrase = problem(ssl_certfile=sealed.certificate, ssl_keyfile=sealed.key)
    assert with_passphrase == f"ssl_keyfile: {sealed.key}: {key_expected}"
