import pytest
from sqlalchemy.engine import make_url

from worker.settings import InvalidSettings
from worker.store.postgres import normalise_url, where
from worker.store.session import open_engine


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("sqlite:////tmp/a,b.db", "sqlite:////tmp/a,b.db"),
    ],
)
def test_both_spellings_of_postgresql_mean_the_same_driver(given: str, meant: str):
    assert normalise_url(given) == meant


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgresql://u:p@h1:5432,h2:5433/d", "h1,h2", "5432,5433"),
        ("postgres://u:p@h1,h2:5433/d?sslmode=require", "h1,h2", ",5433"),
        ("postgresql+psycopg://h1,h2/d", "h1,h2", ","),
        ("postgresql://u:a,b/c?d@h1:1,h2:2/d", "h1,h2", "1,2"),
        ("postgresql://u:p@[::1]:5432,[fe80::2]/d", "::1,fe80::2", "5432,"),
        ("postgresql://u:p@/d?host=h1,h2&port=1,2", "h1,h2", "1,2"),
        ("postgresql://u:p@/d?host=h1:1&host=h2:2", "h1,h2", "1,2"),
    ],
)
def test_several_hosts_reach_the_driver_as_postgresql_spells_them(url: str, host: str, port: str):
    parsed = make_url(normalise_url(url))
    _, arguments = parsed.get_dialect()().create_connect_args(parsed)
    assert (arguments["host"], arguments["port"], arguments["dbname"]) == (host, port, "d")
    assert arguments.get("password") in ("p", "a,b/c?d", None)
    assert arguments.get("sslmode") in ("require", None)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@h1:5432,h2:x/d",
        "postgresql://u:hunter2@/d?host=h1,h2,h3&port=1,2",
        "postgresql://u:hunter2@/d?host=h1,h2&port=1,b",
        "hunter2",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(url: str):
    with pytest.raises(InvalidSettings) as caught:
        open_engine(url)
    assert caught.value.problems == [
        "DATABASE_URL: expected a URL such as postgresql://user:password@host/database,"
        " and of several hosts a port for each or none"
    ]
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:p@db1:5432/accounts", "accounts at db1"),
        ("postgresql://u:p@db1:5432,db2:5433/accounts", "accounts at db1 or db2"),
        ("postgresql://u:p@/accounts?host=db1:1&host=db2:2", "accounts at db1:1 or db2:2"),
        ("postgresql://u:p@/accounts?host=/run/postgresql", "accounts"),
        ("sqlite:////tmp/a.db", "/tmp/a.db"),
    ],
)
def test_a_database_is_named_by_its_hosts_and_without_its_password(url: str, said: str):
    assert where(make_url(normalise_url(url))) == said
