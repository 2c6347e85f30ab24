"""Databases of earlier versions, brought up to date with what they hold."""

from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, Table, insert, inspect, null, select, text

from tests.integration.store.databases import SEALER, Loads, ago, change_job, end, only_postgres, take
from worker.domain.connectors import AuthMethod, Connector
from worker.domain.options import JobOptions, RunOptions
from worker.domain.states import JobState, Outcome, PauseReason
from worker.domain.verdicts import Installed
from worker.jobs.loading import find_unfinished
from worker.store.desks import find_desk, list_waiting
from worker.store.job_states import resume_job
from worker.store.jobs import get_job
from worker.store.readiness import alembic_config, upgrade
from worker.store.session import reading
from worker.store.steering import Retried, retry_job
from worker.store.submissions import find_upload, iter_pieces
from worker.store.tables import (
    HELD_UNTIL,
    desks,
    failure_tallies,
    instances,
    items,
    job_connectors,
    jobs,
    links,
    upload_pieces,
    uploads,
)
from worker.store.tallies import Failure, list_failures, list_outcomes
from worker.store.upkeep import name_reasons, rescue


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


def test_rows_without_a_credential_of_earlier_jobs_are_counted(engine: Engine, loads: Loads):
    by_key, with_key = loads.job(3), loads.job(1, start=20)
    end(engine, *((item, Installed(Outcome.CREATED, 7, item.row_number == 20)) for item in take(engine)))
    change_job(engine, by_key, to_authorise=1)
    command.downgrade(alembic_config(engine), "0015")
    upgrade(engine)
    counts = [get_job(engine, job_id).without_credential for job_id in (by_key, with_key)]
    assert counts == [2, 0]


# A job's options


@pytest.mark.parametrize(
    ("flags", "meant"),
    [
        (
            {"look_first": False, "skip_if_present": False},
            JobOptions(no_look=True, beside=True, is_older=True),
        ),
        (
            {"look_first": True, "skip_if_present": False},
            JobOptions(beside=True, is_older=True),
        ),
        (
            {"look_first": True, "skip_if_present": True},
            JobOptions(is_older=True),
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
        ({}, (True, True, {"skip_invalid": False, "look_first": True, "if_present": "skip"})),
        # One that looks does no harm where none was asked for.
        (
            {"skip_invalid": True, "no_look": True},
            (True, True, {"skip_invalid": True, "look_first": True, "if_present": "skip"}),
        ),
        ({"overwrite": True}, (True, True, {"look_first": True, "if_present": "skip"})),
    ],
)
def test_options_are_written_for_workers_of_the_version_before_too(
    engine: Engine, loads: Loads, options: dict[str, Any], kept: tuple[bool, bool, dict[str, Any]]
):
    loads.job(1, **options)
    with reading(engine) as connection:
        found = connection.execute(select(jobs.c.look_first, jobs.c.skip_if_present, jobs.c.options)).one()
    looks, skips, written = found
    assert (looks, skips, {name: written[name] for name in kept[2]}) == kept


# Of the content "hash" and the connector "Desk" in this instance, as the version before wrote them.
SKIPS_AND_LOOKS = "2d5b7305f0b24e26445e4c8493915333db4731c6fe18c0afe5f36f560a9e4f58"
WITHOUT_OPTIONS = "d0f2260f1a6bfca026e6fc478d866b892fa55c816c9832f0653a3ffb6a17bcc9"
OF_THIS_VERSION = "b9159397432f4148db63e1b2720bfff5d12fa3d8d7ba3edfe6ccf3ffc7f57aa1"


@pytest.mark.parametrize(
    ("fingerprint", "begun_with"),
    [
        (
            SKIPS_AND_LOOKS,
            RunOptions(connector="Desk", skip_invalid=True, beside=True, is_older=True),
        ),
        (WITHOUT_OPTIONS, RunOptions(connector="Desk", no_look=True, beside=True, is_older=True)),
    ],
)
def test_a_job_of_the_version_before_is_found_as_unfinished_with_its_options(
    engine: Engine, loads: Loads, fingerprint: str, begun_with: RunOptions
):
    job_id = loads.job(1)
    change_job(engine, job_id, fingerprint=fingerprint, options=null())
    asked = RunOptions(connector="Desk", overwrite=True)
    found = find_unfinished(engine, "instance-a", "hash", asked)
    assert found is not None
    assert (found.job.id, found.options) == (job_id, begun_with)
    assert found.has_options(asked)
    for other in (RunOptions(connector="Other"), RunOptions()):
        assert find_unfinished(engine, "instance-a", "hash", other) is None
    assert find_unfinished(engine, "instance-b", "hash", begun_with) is None
    assert find_unfinished(engine, "instance-a", "other", begun_with) is None


def test_the_job_with_these_options_is_found_before_a_newer_one_with_others(engine: Engine, loads: Loads):
    ours = loads.job(1, overwrite=True)
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

    assert found(overwrite=True) == ours
    # Of a version before this one, whose options can be given no more.
    assert found() == earlier
    assert found(beside=True) == earlier
    # Neither does what is asked.
    assert found(operation="update") == newest
    change_job(engine, ours, operation="update")
    assert found(operation="update", overwrite=True) == ours


# A half-done job of every earlier version

REVISIONS = [f"{number:04}" for number in range(1, 16)]
HALF_DONE = "261122-bcdfgh"
OAUTH = AuthMethod("m-oauth", "OAuth", "OAuth2", "AuthorisationCode")
CRM = Connector(8, "Harbour CRM", None, "Live", (OAUTH, AuthMethod("m1", "Key", "ApiKey")))
INSTALLED = Installed(Outcome.CREATED, 6600, True)


def put(engine: Engine, table: Table, *rows: dict[str, Any]) -> None:
    """Insert these rows, with as many of their columns as the table has in this version."""
    columns = {column["name"] for column in inspect(engine).get_columns(table.name)}
    with engine.begin() as connection:
        for row in rows:
            given = {name: value for name, value in row.items() if name in columns}
            connection.execute(insert(table).values(given))


def put_half_done_job(engine: Engine, *, revision: str) -> None:
    """Rows 2 and 3 are in the queue, 3 to be looked for; 4 was in hand of a worker that is gone; 5 has failed, 6 is held back;
    7 waits for its customer, who has opened its link."""
    put(engine, instances, {"id": "instance-a", "api_host": "api.example.com"})
    job = {
        "id": HALF_DONE,
        "instance_id": "instance-a",
        "state": "running",
        "source_name": "accounts.csv",
        "fingerprint": WITHOUT_OPTIONS,
        "columns": ["account_id", "api_key"],
        "look_first": True,
        "skip_if_present": False,
        "total": 6,
        "held": 1,
        "installed": 1,
        "failed": 1,
        "tried": 3,
        "to_authorise": 1,
        "created_at": ago(hours=2),
        "started_at": ago(hours=1),
        "working_since": ago(hours=1),
    }
    put(engine, jobs, job)
    connector = {
        "id": 1,
        "job_id": HALF_DONE,
        "key": "crm",
        "release_id": 8,
        "definition": CRM.to_json(),
        "renamed_methods": {},
        "resolved_at": ago(hours=1),
    }
    put(engine, job_connectors, connector)
    fresh: dict[int, dict[str, Any]] = {
        2: {},
        3: {"must_look": True, "maybe_sent": True, "tried": True, "attempts": 1},
        4: {"state": "running", "claim_id": "c" * 32, "claim_until": ago(hours=1)},
        5: {
            "state": "failed",
            "tried": True,
            "attempts": 1,
            "settled_at": ago(minutes=50),
            "code": "refused",
            "message": "no credit",
            "http_status": 400,
            "can_retry_help": False,
        },
        6: {"due_at": HELD_UNTIL},
        7: {
            "state": "installed",
            "tried": True,
            "attempts": 1,
            "settled_at": ago(minutes=50),
            "outcome": "created",
            "account_connector_id": 6508,
            "is_authenticated": False,
            "authentication_id": "m-oauth",
            "sealed": None,
        },
    }
    for number, changed in fresh.items():
        item = {
            "id": number,
            "job_id": HALF_DONE,
            "row_number": number,
            "account_id": f"a{number}",
            "name": "Harbour CRM",
            "target": f"target-{number}",
            "connector_id": 1,
            "authentication_id": "m1",
            "cells": [f"a{number}", "[not exported]"],
            "sealed": SEALER.seal({"api_key": f"secret-{number}"}, job_id=HALF_DONE, row_number=number),
            "state": "queued",
            "due_at": ago(minutes=number),
            "account_exists": True,
        }
        put(engine, items, item | changed)
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("SELECT setval('items_id_seq', 7), setval('job_connectors_id_seq', 1)"))
    if revision >= "0004":
        desk = {"job_id": HALF_DONE, "batch": "b1", "made_at": ago(hours=1), "expires_at": ago(hours=-9)}
        put(engine, desks, desk | {"opened": 1})
        put(engine, links, {"item_id": 7, "job_id": HALF_DONE, "row_number": 7, "opened_at": ago(hours=1)})
    if revision >= "0005":
        upload = {"id": "u" * 24, "api_key_id": "k1", "source_name": "late.csv", "size_bytes": 9, "pieces": 1}
        put(engine, uploads, upload | {"created_at": ago(minutes=9), "expires_at": ago(minutes=-9)})
        put(engine, upload_pieces, {"upload_id": "u" * 24, "number": 0, "sealed": b"sealed"})
    if revision >= "0006":
        tally = {
            "job_id": HALF_DONE,
            "reason": Failure(HALF_DONE, 5, "a5", *REFUSED_SO).key[1],
            "count": 1,
            "code": "refused",
            "http_status": 400,
            "can_retry_help": False,
            "parts": ["no credit"],
            "example_row": 5,
            "example_account_id": "a5",
        }
        put(engine, failure_tallies, tally)


REFUSED_SO = ("refused", "no credit", 400, False)


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_half_done_job_of_every_earlier_version_is_ended_by_this_one(empty: Engine, revision: str):
    command.upgrade(alembic_config(empty), revision)
    put_half_done_job(empty, revision=revision)
    upgrade(empty)
    command.check(alembic_config(empty))

    job = get_job(empty, HALF_DONE)
    assert (job.state, job.held, job.left, job.to_authorise) == (JobState.RUNNING, 1, 4, 1)
    assert job.without_credential == 0
    assert list_outcomes(empty, HALF_DONE) is None
    assert [(group.code, group.count, group.example_row) for group in list_failures(empty, HALF_DONE)] == [
        ("refused", 1, 5)
    ]
    again = RunOptions(connector="Desk")
    unfinished = find_unfinished(empty, "instance-a", "hash", again)
    assert unfinished is not None
    assert unfinished.has_options(again)

    assert rescue(empty, due_in_s=0) == 1
    taken = sorted(take(empty), key=lambda item: item.row_number)
    assert [(item.row_number, item.must_look, item.maybe_sent) for item in taken] == [
        (2, False, False),
        (3, True, True),
        (4, True, True),
    ]
    assert {item.options for item in taken} == {JobOptions(beside=True, is_older=True)}
    assert [item.secrets for item in taken] == [{"api_key": f"secret-{number}"} for number in (2, 3, 4)]
    end(empty, *((item, INSTALLED) for item in taken))
    assert get_job(empty, HALF_DONE).pause_reason is PauseReason.FIRST_ROWS
    assert resume_job(empty, HALF_DONE, first=None)
    assert retry_job(empty, HALF_DONE) == Retried(queued=1, wiped=0, live=0)
    assert name_reasons(empty) == 0
    last = take(empty)
    assert sorted(item.row_number for item in last) == [5, 6]
    end(empty, *((item, INSTALLED) for item in last))
    job = get_job(empty, HALF_DONE)
    assert (job.state, job.installed, job.failed, job.left) == (JobState.COMPLETED, 6, 0, 0)
    assert list_failures(empty, HALF_DONE) == []
    assert list_outcomes(empty, HALF_DONE) is None

    [waits] = list_waiting(empty, HALF_DONE)
    assert (waits.row_number, waits.opened_at is not None) == (7, revision >= "0004")
    desk = find_desk(empty, HALF_DONE)
    assert (desk is not None and desk.holds) == (revision >= "0004")
    late = find_upload(empty, "u" * 24, api_key_id="k1")
    assert late is None  # not whole
    assert list(iter_pieces(empty, "u" * 24)) == ([b"sealed"] if revision >= "0005" else [])
