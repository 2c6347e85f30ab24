"""Databases of earlier versions, brought up to date with what they hold."""

from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, null, select, text

from tests.integration.store.databases import Loads, change_job, only_postgres, take
from worker.domain.options import IfPresent, JobOptions
from worker.jobs.options import RunOptions, find_unfinished
from worker.store.schema import alembic_config, upgrade
from worker.store.session import reading
from worker.store.tables import jobs


@only_postgres
def test_columns_for_operations_are_added_without_writing_the_rows_anew(engine: Engine, loads: Loads):
    loads.job(3)
    command.downgrade(alembic_config(engine), "0012")

    def files() -> list[tuple[str, int]]:
        found = text("SELECT c, pg_relation_filenode(c::regclass) FROM unnest(ARRAY['items', 'jobs']) AS c")
        with reading(engine) as connection:
            return [tuple(row) for row in connection.execute(found)]

    before = files()
    upgrade(engine)
    assert files() == before


# A job's options


@pytest.mark.parametrize(
    ("flags", "meant"),
    [
        ({"look_first": False, "skip_if_present": False}, JobOptions()),
        ({"look_first": True, "skip_if_present": False}, JobOptions(look_first=True)),
        (
            {"look_first": True, "skip_if_present": True},
            JobOptions(look_first=True, if_present=IfPresent.SKIP),
        ),
    ],
)
def test_options_of_a_job_of_the_version_before_mean_what_they_meant(
    engine: Engine, loads: Loads, flags: dict[str, bool], meant: JobOptions
):
    job_id = loads.job(1)
    change_job(engine, job_id, options=null(), **flags)
    [item] = take(engine)
    assert item.options == meant


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, (False, False, {"skip_invalid": False, "look_first": False, "if_present": "install"})),
        (
            {"skip_invalid": True, "look_first": True},
            (True, False, {"skip_invalid": True, "look_first": True, "if_present": "install"}),
        ),
        (
            {"if_present": IfPresent.SKIP},
            (True, True, {"skip_invalid": False, "look_first": False, "if_present": "skip"}),
        ),
    ],
)
def test_options_are_written_for_workers_of_the_version_before_too(
    engine: Engine, loads: Loads, options: dict[str, Any], kept: tuple[bool, bool, dict[str, Any]]
):
    loads.job(1, **options)
    with reading(engine) as connection:
        found = connection.execute(select(jobs.c.look_first, jobs.c.skip_if_present, jobs.c.options)).one()
    assert tuple(found) == kept


# Of the content "hash" and the connector "Desk" in this instance, as the version before wrote them.
SKIPS_AND_LOOKS = "2d5b7305f0b24e26445e4c8493915333db4731c6fe18c0afe5f36f560a9e4f58"
WITHOUT_OPTIONS = "d0f2260f1a6bfca026e6fc478d866b892fa55c816c9832f0653a3ffb6a17bcc9"
OF_THIS_VERSION = "b9159397432f4148db63e1b2720bfff5d12fa3d8d7ba3edfe6ccf3ffc7f57aa1"


@pytest.mark.parametrize(
    ("fingerprint", "begun_with"),
    [
        (SKIPS_AND_LOOKS, RunOptions(connector="Desk", skip_invalid=True, look_first=True)),
        (WITHOUT_OPTIONS, RunOptions(connector="Desk")),
    ],
)
def test_a_job_of_the_version_before_is_found_as_unfinished_with_its_options(
    engine: Engine, loads: Loads, fingerprint: str, begun_with: RunOptions
):
    job_id = loads.job(1)
    change_job(engine, job_id, fingerprint=fingerprint, options=null())
    found = find_unfinished(engine, "instance-a", "hash", RunOptions(connector="Desk", look_first=True))
    assert found is not None
    assert (found.job.id, found.options) == (job_id, begun_with)
    for other in (RunOptions(connector="Other"), RunOptions()):
        assert find_unfinished(engine, "instance-a", "hash", other) is None
    assert find_unfinished(engine, "instance-b", "hash", begun_with) is None
    assert find_unfinished(engine, "instance-a", "other", begun_with) is None


def test_the_job_with_these_options_is_found_before_a_newer_one_with_others(engine: Engine, loads: Loads):
    ours = loads.job(1, look_first=True)
    earlier = loads.job(1, start=10)
    newest = loads.job(1, start=20, skip_invalid=True)
    change_job(engine, ours, fingerprint=OF_THIS_VERSION)
    change_job(engine, earlier, fingerprint=WITHOUT_OPTIONS, options=null())
    change_job(engine, newest, fingerprint=OF_THIS_VERSION)

    def found(**options: Any) -> str:
        unfinished = find_unfinished(
            engine, "instance-a", "hash", RunOptions(connector="Desk", first=1, **options)
        )
        assert unfinished is not None
        return unfinished.job.id

    assert found(look_first=True) == ours
    assert found() == earlier
    assert found(if_present=IfPresent.SKIP) == newest
