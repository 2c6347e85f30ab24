"""A command with `--json` and the API say the same of the same job and of the same row, name by name and value by value."""

import csv
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, update

from tests.end_to_end.fleet.fleet import Fleet, open_fleet
from tests.end_to_end.fleet.web import launch_web
from tests.integration.store.databases import (
    OTHER_INSTANCE,
    Loads,
    ago,
    change_items,
    change_job,
    end,
    set_state,
    take,
)
from tests.plain_http import http_client
from tests.postgres import Databases
from worker.domain.states import Code, JobState, Outcome, PauseReason
from worker.domain.verdicts import GiveUp, Installed, LookFirst, RetryAt
from worker.settings import load_settings
from worker.store.api_keys import Scope, create_key
from worker.store.session import db_now, reading, writing
from worker.store.tables import job_warnings, jobs, pace_points

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


MOVING = ("rows_per_second", "seconds_left", "seconds_worked")


class Faces:
    """A deployment in which nobody works, so that every job stands still, and its API."""

    def __init__(self, fleet: Fleet, client: httpx.Client) -> None:
        self.fleet, self.client, self.engine = fleet, client, fleet.engine
        settings = {name.lower(): value for name, value in fleet.settings.items()}
        self.instance_id = load_settings(**settings).instance_id  # type: ignore[arg-type]
        self.loads = Loads(fleet.engine)
        self.rows = 2

    def job(self, rows: int, **options: Any) -> str:
        """Rows that no other job has."""
        start, self.rows = self.rows, self.rows + rows
        return self.loads.job(rows, **{"start": start, "instance_id": self.instance_id} | options)

    def take(self, count: int) -> list[Any]:
        return take(self.engine, count, instance_id=self.instance_id)

    def get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def agreed(self, path: str, *words: str) -> Any:
        """What both say. What changes with the time is, for the command, between what the API said before and after it."""
        before = self.get(path)
        command = self.fleet.say(*words, "--json")
        assert command.code == 0, command.err
        said, after = command.json(), self.get(path)
        for name in MOVING:
            first, last = sorted([before.pop(name), after.pop(name)], key=lambda number: number or 0.0)
            assert said[name] == first or first <= said[name] <= last, name
        assert {name: said[name] for name in said if name not in MOVING} == before == after
        return said


@pytest.fixture(scope="module")
def faces(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    with open_fleet(tmp_path_factory.mktemp("faces"), databases) as fleet:
        fleet.release()
        _, port = launch_web(fleet)
        _, key = create_key(fleet.engine, name="an integration", scope=Scope.READ, lasts=None)
        url = f"http://127.0.0.1:{port}"
        with http_client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            yield Faces(fleet, client)
        fleet.assert_no_secret_was_said()


@pytest.fixture(autouse=True)
def _each_has_its_own_rows(faces: Faces, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """And commands are typed in a folder without `.env`."""
    monkeypatch.chdir(tmp_path)
    yield
    resting = (
        update(jobs)
        .where(jobs.c.state == "running")
        .values(state="paused", pause_reason="person", working_since=None)
    )
    writing(faces.engine, lambda connection: connection.execute(resting))


def in_full(faces: Faces, job_id: str) -> Any:
    return faces.agreed(f"/v1/jobs/{job_id}", "status", job_id)


def test_a_job_whose_rows_are_being_written(faces: Faces) -> None:
    job_id = faces.job(1)
    set_state(faces.engine, job_id, JobState.LOADING)
    job = in_full(faces, job_id)
    assert (job["state"], job["operation"], job["handed_in_by"]) == ("loading", "install", None)
    names = ("skip_invalid", "no_look", "overwrite", "beside", "replace_tokens", "assume_method")
    flags = dict.fromkeys([*names, "allow_undeclared", "no_undo", "look_again"], False)
    assert job["options"] == flags | {"sheet": None, "map": []}


def test_a_job_that_runs_with_its_pace_its_rows_in_hand_and_why_rows_failed(faces: Faces) -> None:
    job_id = faces.job(25)
    held, *others = faces.take(12)
    end(
        faces.engine,
        *((item, Installed(Outcome.CREATED, item.id, True)) for item in others[:9]),
        (others[9], GiveUp(Code.REFUSED, "no credit", 403)),
        (others[10], RetryAt(300.0, Code.THROTTLED, "Cyclr asked for fewer calls", 429)),
    )
    job = in_full(faces, job_id)
    assert (job["installed"], job["failed"], job["retrying"], job["in_hand"], job["left"]) == (9, 1, 1, 1, 15)
    assert 0 < job["rows_per_second"] <= 10
    assert [(each["code"], each["count"]) for each in job["failures"]] == [("refused", 1)]
    assert job["outcomes"] == [{"outcome": "created", "count": 9, "changed": {}}]
    assert job["limiter"] == {
        "calls_per_second": 200.0,
        "configured_per_second": 200.0,
        "own_per_second": 200.0,
        "gate_closed_for_s": 0.0,
        "outage_level": 0,
    }
    end(faces.engine, (held, Installed(Outcome.CREATED, held.id, True)))


def test_the_rate_of_a_job_whose_last_row_ended_ten_seconds_ago(faces: Faces) -> None:
    job_id = faces.job(30)
    change_job(faces.engine, job_id, working_since=ago(seconds=60), tried=10, installed=10)
    with reading(faces.engine) as connection:
        at = db_now(connection).replace(microsecond=0) - timedelta(seconds=10)
    point = insert(pace_points).values(job_id=job_id, at=at, installed=10, failed=0)
    writing(faces.engine, lambda connection: connection.execute(point))
    job = in_full(faces, job_id)
    assert 0.3 < job["rows_per_second"] <= 1.0
    assert job["seconds_left"] > 10


@pytest.mark.parametrize("reason", PauseReason)
def test_a_job_that_rests(faces: Faces, reason: PauseReason) -> None:
    job_id = faces.job(3, first=1)
    change_job(faces.engine, job_id, state="paused", pause_reason=reason, worked_s=61.25, working_since=None)
    job = in_full(faces, job_id)
    assert (job["pause_reason"], job["held"], job["seconds_worked"]) == (reason, 2, 61.2)
    assert job["pause_message"]


def test_a_job_that_ended_and_was_handed_in_by_a_program_with_what_its_check_warned_of(faces: Faces) -> None:
    key, _ = create_key(faces.engine, name="the portal", scope=Scope.WRITE, lasts=None)
    job_id = faces.job(3)
    change_job(faces.engine, job_id, api_key_id=key.id, warning_count=3)
    unknown = {"row": None, "column": "colour", "reason": "unknown, it is ignored", "count": 1, "spans": []}
    odd = {"row": 2, "column": "account_id", "reason": "it looks odd", "count": 2, "spans": [[2, 3]]}
    told = insert(job_warnings).values(job_id=job_id, warnings=[unknown, odd])
    writing(faces.engine, lambda connection: connection.execute(told))
    installed, refused, unsure = faces.take(3)
    end(
        faces.engine,
        (installed, Installed(Outcome.RECOVERED, 901, None)),
        (refused, GiveUp(Code.REFUSED, "no credit", 403)),
        (
            unsure,
            GiveUp(Code.OUTCOME_UNKNOWN, "may be installed", None, can_retry_help=True, is_absent=False),
        ),
    )
    ended = {"state": "completed", "worked_s": 2.5, "working_since": None, "finished_at": ago(minutes=5)}
    change_job(faces.engine, job_id, **ended)
    job = in_full(faces, job_id)
    assert (job["handed_in_by"], job["final"], job["failed"]) == ("the portal", 3, 2)
    assert (job["rows_per_second"], job["seconds_left"], job["seconds_worked"]) == (1.2, None, 2.5)
    assert [reason["code"] for reason in job["failures"]] == ["refused", "outcome_unknown"]
    assert job["warnings"] == [
        {"row": None, "column": "colour", "message": "unknown, it is ignored", "count": None, "rows": None},
        {"row": 2, "column": "account_id", "message": "it looks odd", "count": 2, "rows": [[2, 3]]},
    ]


@pytest.mark.parametrize("is_over", [False, True])
def test_a_job_that_was_cancelled(faces: Faces, *, is_over: bool) -> None:
    job_id = faces.job(2)
    finished_at = ago(minutes=1) if is_over else None
    change_job(faces.engine, job_id, state="cancelled", finished_at=finished_at, working_since=None)
    assert in_full(faces, job_id)["state"] == "cancelled"


def test_a_job_of_another_cyclr_has_a_limiter_too(faces: Faces) -> None:
    job_id = faces.job(1, instance_id=OTHER_INSTANCE)
    job = in_full(faces, job_id)
    assert (job["api_host"], job["limiter"]["calls_per_second"]) == ("api.example.com", 200.0)


def test_a_command_of_its_own_says_what_one_in_this_process_says(faces: Faces) -> None:
    job_id = faces.job(1)
    change_job(faces.engine, job_id, state="paused", pause_reason="person", working_since=None)
    command = faces.fleet.start("status", job_id, "--json")
    assert command.wait() == 0, command.err
    assert json.loads(command.out) == faces.get(f"/v1/jobs/{job_id}")


def test_the_list_of_jobs(faces: Faces) -> None:
    for _ in range(3):
        change_job(faces.engine, faces.job(1), state="paused", pause_reason="person", working_since=None)
    listed = {job["id"]: job for job in faces.get("/v1/jobs?limit=100")["jobs"] if job["state"] == "paused"}
    typed = {job["id"]: job for job in faces.fleet.say("jobs", "--json").json() if job["state"] == "paused"}
    assert typed == listed
    assert len(listed) >= 3


def test_rows_in_every_state_and_each_attempt(faces: Faces, tmp_path: Path) -> None:
    job_id = faces.job(9, first=7)
    created, recovered, adopted, failed, retried, unclear, _ = faces.take(7)
    end(
        faces.engine,
        (created, Installed(Outcome.CREATED, 901, True)),
        (recovered, Installed(Outcome.RECOVERED, 902, None)),
        (adopted, Installed(Outcome.ADOPTED, 903, False, ("api_key",))),
        (failed, GiveUp(Code.NAME_IN_USE, "the name is taken", 400, can_retry_help=True)),
        (retried, RetryAt(300.0, Code.UNREACHABLE, "no route")),
        (unclear, LookFirst(300.0, Code.NO_ANSWER, "no answer")),
    )
    change_items(
        faces.engine, job_id, recovered.row_number, changed=["api_key", "property.Region"], undo=b"u"
    )
    change_items(faces.engine, job_id, unclear.row_number, steps_done=["account"], sent="connector")
    change_items(faces.engine, job_id, unclear.row_number + 3, state="held", held_for="wave")
    listed = faces.get(f"/v1/jobs/{job_id}/items")["items"]
    assert faces.fleet.say("items", job_id, "--json").lines() == listed
    assert [(row["state"], row["outcome"], row["code"], row["must_look"]) for row in listed] == [
        ("installed", "created", None, False),
        ("installed", "recovered", None, False),
        ("installed", "adopted", None, False),
        ("failed", None, "name_in_use", False),
        ("queued", None, "unreachable", False),
        ("queued", None, "no_answer", True),
        ("running", None, None, False),
        ("queued", None, None, False),
        ("held", None, None, False),
    ]
    assert [(row["changed"], row["differs"], row["undo_kept"]) for row in listed[1:3]] == [
        (["api_key", "property.Region"], [], True),
        ([], ["api_key"], False),
    ]
    assert [(row["steps_done"], row["sent"]) for row in listed[4:6]] == [
        ([], None),
        (["account"], "connector"),
    ]
    # Only what waits for its time has one: the last two are held back.
    assert [row["due_at"] is not None for row in listed] == [False] * 4 + [True, True, False, False, False]
    for row in listed:
        shown = faces.get(f"/v1/jobs/{job_id}/items/{row['row']}")
        assert {name: shown[name] for name in row} == row
        assert len(shown["history"]) == row["attempts"]
    [reason] = faces.fleet.say("failures", job_id, "--json").lines()
    assert faces.get(f"/v1/jobs/{job_id}/failures")["reasons"] == [reason]

    # A result file says it in texts.
    path = tmp_path / "results.csv"
    assert faces.fleet.say("results", job_id, "-o", path).code == 0
    with path.open(encoding="utf-8-sig", newline="") as text:
        written = list(csv.DictReader(text))
    for row, line in zip(listed, written, strict=True):
        assert line["_state"] == {"installed": "done"}.get(row["state"], row["state"])
        texts = ("outcome", "code", "account_connector_id")
        assert [line[f"_{name}"] for name in texts] == [str(row[name] or "") for name in texts]
        assert (line["_row"], line["_attempts"]) == (str(row["row"]), str(row["attempts"]))
        assert (line["_differs"], line["_account_created"]) == (", ".join(row["differs"]), "no")
        assert line["_changed"] == ", ".join(row["changed"])
        assert (row["message"] or "") in line["_message"]
        assert (row["advice"] or "") in line["_message"]
