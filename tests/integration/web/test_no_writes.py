"""What the web process says of a database that answers and takes no writes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.integration.store.databases import only_postgres, url_of
from tests.integration.web.site import Site
from tests.started import run_process
from worker.store.session import open_engine

NOT_READY = {
    "status": "not_ready",
    "checks": {
        "database": "it takes no writes",
        "schema": "not asked",
        "worker": "not asked",
        "redis": "not asked",
    },
    "faults": [
        {
            "server": "database",
            "class": "25006 read_only_sql_transaction",
            "message": "The database answers 25006 read_only_sql_transaction",
        }
    ],
}


@pytest.fixture
def set_aside(site: Site) -> Iterator[Site]:
    """New sessions are read-only, and those of before are gone."""
    surgeon = open_engine(url_of(site.engine))
    name = site.engine.url.database
    with surgeon.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        connection.commit()
        site.engine.dispose()
        yield site
        connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
        connection.commit()
    surgeon.dispose()


@only_postgres
def test_a_database_that_takes_no_writes_is_not_ready_until_it_does(set_aside: Site):
    client = set_aside.client()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, NOT_READY)


@only_postgres
def test_what_needs_the_database_is_told_so_and_when_to_try_again(site: Site, request: pytest.FixtureRequest):
    client = site.client(site.key())
    request.getfixturevalue("set_aside")
    answers = [client.get("/v1/jobs"), client.post("/v1/jobs", json={"items": []})]
    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(503, "5")] * 2
    assert [(answer.json()["code"], answer.json()["detail"]) for answer in answers] == [
        ("database_away", "The database takes no writes. Try again in a moment.")
    ] * 2


@only_postgres
def test_sessions_that_became_read_only_are_found_out_by_the_question_for_readiness(site: Site):
    client = site.client()
    assert client.get("/readyz").json()["checks"]["database"] == "ok"
    with site.engine.connect() as connection:
        connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
        connection.commit()
    asked = [client.get("/readyz").json()["checks"]["database"] for _ in range(6)]  # as many as a pool holds
    assert asked.count("it takes no writes") == 1
    assert asked[-1] == "ok"


# Of a file: on disks of its own, which are gone with the process.
ON_A_DISK = """
import ctypes, os, sys
from pathlib import Path
from worker.store.readiness import (require_ready)
from worker.store.faults import (DatabaseAway)
from worker.store.readiness import upgrade
from worker.store.session import open_engine

MS_RDONLY, MS_REMOUNT = 1, 32

def mount(flags, options):
    done = ctypes.CDLL(None).mount(b"tmpfs", os.fsencode(sys.argv[1]), b"tmpfs", flags, options)
    assert done == 0, "not mounted"

def say(engine):
    try:
        require_ready(engine)
    except DatabaseAway as refusal:
        print(refusal)
    else:
        print("ready")

mount(0, b"size=4m")
engine = open_engine(f"sqlite:///{sys.argv[1]}/store.db")
upgrade(engine)
say(engine)
filler = Path(sys.argv[1], "filler")
try:
    filler.write_bytes(bytes(4_000_000))
except OSError:
    pass
say(engine)
filler.unlink()
say(engine)
engine.dispose()
mount(MS_RDONLY | MS_REMOUNT, None)
say(engine)
"""


def test_a_file_on_a_full_disk_or_one_that_may_not_be_written_is_not_ready(tmp_path: Path):
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if run_process([*alone, "mount", "-t", "tmpfs", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("no disk of one's own can be made here")
    done = run_process(
        [*alone, sys.executable, "-c", ON_A_DISK, tmp_path], capture_output=True, text=True, check=False
    )
    path = tmp_path / "store.db"
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "ready",
            f"the database {path} cannot be used: its disk is full. Make room there.",
            "ready",
            f"the database {path} answers, but takes no writes now. Is there room on its disk, and may it be written?",
        ],
    ), done.stderr
