"""The commands of a deployment, against the Procfile's own processes, PostgreSQL and Valkey."""

import csv
import json
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import redis

from tests.end_to_end.fleet.fleet import (
    CLIENT_ID,
    KEY,
    OTHER_CLIENT_ID,
    TIMEOUT_S,
    Fleet,
    end,
    has_ended,
    worker_processes,
)
from tests.end_to_end.processes.commands import eventually
from worker.simulator.faults import refused, slow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NEW_KEY = "k2:" + "MjIy" * 10 + "MjI="
STEER = ("pause", "resume", "cancel", "retry", "status", "items", "failures", "watch")


def accounts(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:02}" for number in range(count)]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text))


def hold_up(fleet: Fleet, seconds: float = 1.0) -> None:
    fleet.change(lambda world: world.faults.add(slow(seconds), call="install"))


def test_a_file_is_submitted_watched_and_read(fleet: Fleet, tmp_path: Path) -> None:
    ids = accounts("first", 12)
    fleet.change(lambda world: world.faults.add(refused(403, "suspended"), call="install", account_id=ids[3]))
    submitted = fleet.say("submit", fleet.file(ids, "twelve.csv"), "--yes")
    assert submitted.code == 0
    [job_id] = submitted.out.splitlines()
    assert submitted.err.splitlines()[-1] == f"Submitted. Watch it with `cyclr-bulk watch {job_id}`."

    watched = fleet.say("watch", job_id)
    assert (watched.code, watched.out.splitlines()) == (
        1,
        [
            "11 created, 1 failed.",
            "Failed, by reason:",
            "        1  2686b8fc  refused: suspended (row 5)",
            "What to do:",
            "  refused: Mend what the message names, then retry.",
        ],
    )
    assert f"  cyclr-bulk retry {job_id}" in watched.err.splitlines()

    status = fleet.say("status", job_id).out.splitlines()
    assert status[0].endswith(f"{fleet.simulator.base_url.removeprefix('http://')}: completed")
    assert status[1] == "  11 created, 1 failed."
    assert status[-5:] == [
        "  calls:     at most 200 calls/s",
        "Failed, by reason:",
        "        1  2686b8fc  refused: suspended (row 5)",
        "What to do:",
        "  refused: Mend what the message names, then retry.",
    ]
    told = fleet.say("status", job_id, "--json").json()
    assert (told["state"], told["total"], told["installed"], told["failed"], told["in_hand"]) == (
        "completed",
        12,
        11,
        1,
        0,
    )
    assert told["limiter"] == {
        "calls_per_second": 200.0,
        "configured_per_second": 200.0,
        "own_per_second": 200.0,
        "gate_closed_for_s": 0.0,
        "outage_level": 0,
    }
    assert told["failures"] == [
        {
            "reason": "2686b8fc",
            "code": "refused",
            "http_status": 403,
            "message": "suspended",
            "count": 1,
            "can_retry_help": False,
            "example_row": 5,
            "example_account_id": ids[3],
            "advice": "Mend what the message names, then retry.",
        }
    ]

    [failed] = fleet.say("items", job_id, "--state", "failed", "--json").lines()
    assert (failed["row"], failed["account_id"], failed["code"], failed["message"]) == (
        5,
        ids[3],
        "refused",
        "suspended",
    )
    assert [row["row"] for row in fleet.say("items", job_id, "--account", ids[7], "--json").lines()] == [9]
    assert fleet.say("items", job_id, "--code", "refused").out == (
        f"row 5  {ids[3]}  Northwind Mail  failed  refused  suspended. Mend what the message names, then retry.\n"
    )
    assert fleet.say("items", job_id, "--code", "no_answer").out == ""

    # By the key of a reason.
    why = fleet.say("failures", job_id)
    assert (why.out, why.err.splitlines()[-1]) == (
        "        1  2686b8fc  refused: suspended (row 5)\n"
        "What to do:\n"
        "  refused: Mend what the message names, then retry.\n",
        "1 failed row.",
    )
    [line] = fleet.say("failures", job_id, "--json").lines()
    assert (line["reason"], line["count"]) == ("2686b8fc", 1)
    assert [row["row"] for row in fleet.say("items", job_id, "--reason", "2686b8fc", "--json").lines()] == [5]
    one = fleet.say("results", job_id, "--reason", "2686b8fc", "-o", tmp_path / "suspended.csv")
    assert (one.code, one.out) == (0, f"1 row written to {tmp_path / 'suspended.csv'}\n")
    for command in (("items",), ("retry",), ("results", "-o", tmp_path / "none.csv")):
        unknown = fleet.say(command[0], job_id, "--reason", "00000000", *command[1:])
        assert unknown.code == 2
        assert f"No row of job {job_id} failed for a reason with the key 00000000." in unknown.err
        assert f"`cyclr-bulk failures {job_id}` lists those that are." in unknown.err

    written = fleet.say("results", job_id, "-o", tmp_path / "out.csv")
    assert (written.code, written.out) == (0, f"12 rows written to {tmp_path / 'out.csv'}\n")
    assert Counter(row["_state"] for row in rows_of(tmp_path / "out.csv")) == {"done": 11, "failed": 1}
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("mine\n")
    assert fleet.say("results", job_id, "-o", foreign).code == 2
    assert foreign.read_text() == "mine\n"

    assert [
        job["id"] for job in fleet.say("jobs", "--json").json() if job["source_name"] == "twelve.csv"
    ] == [job_id]


def test_a_paused_job_sends_nothing_until_it_is_resumed(fleet: Fleet) -> None:
    ids = accounts("paused", 900)  # more than are in hand when the pause comes, on a busy machine too
    job_id = fleet.submit(ids)
    fleet.wait_for_installs(ids, 5)
    paused = fleet.say("pause", job_id)
    paused_at = time.time()
    assert paused.code == 0
    assert paused.err.startswith(f"Paused: job {job_id} of accounts.csv, ")
    again = fleet.say("pause", job_id)
    assert (again.code, again.out, again.err) == (
        2,
        "",
        f"Job {job_id} cannot be paused: it is paused (somebody paused it). It goes on with"
        f" `cyclr-bulk resume {job_id}`, and ends with `cyclr-bulk cancel {job_id}`.\nNothing was changed.\n",
    )
    eventually(lambda: "running" not in fleet.states(job_id), "what was in hand is settled or given back")
    assert "paused (somebody paused it)" in fleet.say("status", job_id).out
    watched = fleet.say("watch", job_id)
    assert watched.code == 3
    assert f"Job {job_id} is paused: somebody paused it." in watched.err
    assert fleet.say("resume", job_id).code == 0
    resumed_at = time.time()
    assert fleet.say("watch", job_id).code == 0
    starts = sorted(call.received_at for call in fleet.calls("install", ids))
    assert [at for at in starts if paused_at + 2 < at < resumed_at] == []
    assert len(starts) == 900
    ended = fleet.say("resume", job_id)
    assert (ended.code, ended.err.splitlines()[0]) == (
        2,
        f"Job {job_id} cannot be resumed: it is completed. Nothing is left to do;"
        f" `cyclr-bulk retry {job_id}` tries its failed rows again.",
    )


def test_the_first_rows_go_and_the_next_when_they_are_let_go(fleet: Fleet) -> None:
    ids = accounts("few", 9)
    job_id = fleet.submit(ids, "--first", "2")
    assert fleet.say("watch", job_id).code == 3
    assert len(fleet.calls("install", ids)) == 2
    repeated = fleet.say("submit", fleet.file(ids), "--yes")
    assert (repeated.code, repeated.out) == (2, "")
    assert f"Let it go on with `cyclr-bulk resume {job_id}`" in repeated.err
    assert fleet.say("resume", job_id, "--first", "3").code == 0
    eventually(lambda: fleet.job(job_id).state == "paused", "the next three are done")
    assert len(fleet.calls("install", ids)) == 5
    assert fleet.say("resume", job_id).code == 0
    assert fleet.say("watch", job_id).code == 0
    assert len(fleet.calls("install", ids)) == 9


def test_a_file_that_is_submitted_twice_is_one_job(fleet: Fleet) -> None:
    ids = accounts("twice", 30)
    hold_up(fleet)
    job_id = fleet.submit(ids)
    again = fleet.say("submit", fleet.file(ids), "--yes", "--as-written", "account_id")
    assert (again.code, again.out) == (0, f"{job_id}\n")
    other = fleet.say("submit", fleet.file(ids), "--yes", "--overwrite")
    assert (other.code, other.out) == (2, "")
    assert f"To begin anew, end that job first: `cyclr-bulk cancel {job_id}`." in other.err
    fleet.change(lambda world: world.faults.clear())
    assert fleet.say("watch", job_id).code == 0
    assert len(fleet.calls("install", ids)) == 30


def test_a_cancelled_job_frees_its_rows_for_another(fleet: Fleet) -> None:
    ids = accounts("cancelled", 30)
    job_id = fleet.submit(ids, "--first", "1")
    fleet.wait_for(job_id, "paused")
    [taken, *_] = (
        fleet.say("submit", fleet.file(ids[5:6], "one.csv"), "--yes")
        .err.partition("  row 2: ")[2]
        .splitlines()
    )
    assert taken.endswith(f"by job {job_id}: let that job end first, or cancel it")
    cancelled = fleet.say("cancel", job_id)
    assert cancelled.code == 0
    assert cancelled.err.startswith(f"Cancelled: job {job_id} of accounts.csv, ")
    watched = fleet.say("watch", job_id)
    assert (watched.code, watched.out) == (3, "1 created, 0 failed, 29 cancelled.\n")
    assert Counter(fleet.states(job_id)) == {"installed": 1, "cancelled": 29}
    assert fleet.say("cancel", job_id).code == 2
    corrected = fleet.submit(ids[5:8])
    assert fleet.say("watch", corrected).code == 0


def test_failed_rows_are_tried_again_then_forgotten(fleet: Fleet) -> None:
    ids = accounts("retried", 8)
    for each in ids[:3]:
        fleet.change(
            lambda world, each=each: world.faults.add(
                refused(403, "suspended"), call="install", account_id=each
            )
        )
    job_id = fleet.submit(ids, "--no-look")
    assert fleet.say("watch", job_id).code == 1
    nothing = fleet.say("retry", job_id, "--code", "no_answer")
    assert (nothing.code, nothing.err) == (
        2,
        "There is nothing to try again.\nNothing was changed.\n",
    )
    fleet.change(lambda world: world.faults.clear())
    retried = fleet.say("retry", job_id, "--code", "refused")
    assert (retried.code, retried.err.splitlines()[0]) == (
        0,
        "3 rows will be tried again; each account is looked into first.",
    )
    assert fleet.say("watch", job_id).code == 0
    assert Counter(call.account_id for call in fleet.calls("look", ids)) == dict.fromkeys(ids[:3], 1)
    assert Counter(fleet.states(job_id)) == {"installed": 8}

    unasked = fleet.say("forget", job_id)
    assert (unasked.code, unasked.err.splitlines()[-1]) == (2, "Nothing was changed.")
    assert len(fleet.items(job_id)) == 8
    assert fleet.say("forget", job_id, "--yes").code == 0
    assert fleet.items(job_id) == []
    gone = fleet.say("status", job_id)
    assert (gone.code, gone.err.splitlines()[0]) == (
        2,
        f"There is no job {job_id} here. `cyclr-bulk jobs` lists those that are.",
    )


def test_only_a_job_that_has_ended_is_forgotten(fleet: Fleet) -> None:
    job_id = fleet.submit(accounts("kept", 4), "--first", "1")
    fleet.wait_for(job_id, "paused")
    refused_ = fleet.say("forget", job_id, "--yes")
    assert refused_.code == 2
    assert refused_.err.startswith(f"Job {job_id} cannot be forgotten: it is paused")
    assert len(fleet.items(job_id)) == 4


@pytest.mark.parametrize("command", STEER)
def test_an_unknown_job_is_said_to_be_unknown(fleet: Fleet, command: str) -> None:
    said = fleet.say(command, "261121-nobody")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[0] == (
        "There is no job 261121-nobody here. `cyclr-bulk jobs` lists those that are."
    )


def test_credentials_are_sealed_with_the_new_key_and_open_with_it(fleet: Fleet) -> None:
    ids = accounts("sealed", 3)
    job_id = fleet.submit(ids, "--first", "1")
    fleet.wait_for(job_id, "paused")
    made = fleet.say("new-sealing-key").out.strip()
    new_id = made.partition(":")[0].encode()
    fleet.secrets.add(NEW_KEY.partition(":")[2])
    lost = fleet.say("reseal", CYCLR_BULK_SEALING_KEYS=NEW_KEY)
    assert lost.code == 1
    assert "cannot be opened with any of the keys" in lost.err
    sealed = fleet.say("reseal", CYCLR_BULK_SEALING_KEYS=f"{made},{KEY}")
    assert sealed.code == 0
    kept = [item.sealed for item in fleet.items(job_id) if item.sealed is not None]
    assert [bytes(each).partition(b":")[0] for each in kept] == [new_id, new_id]
    assert fleet.say("reseal", CYCLR_BULK_SEALING_KEYS=f"{KEY},{made}").code == 0
    assert fleet.say("resume", job_id).code == 0
    assert fleet.say("watch", job_id).code == 0


def test_distrusted_rows_are_looked_for_before_anything_is_sent(fleet: Fleet) -> None:
    ids = accounts("doubted", 6)
    job_id = fleet.submit(ids, "--no-look", "--first", "2")
    fleet.wait_for(job_id, "paused")
    assert fleet.say("distrust").code == 0
    assert fleet.say("resume", job_id).code == 0
    assert fleet.say("watch", job_id).code == 0
    looked = {call.account_id: call.ended_at for call in fleet.calls("look", ids)}
    sent = {call.account_id: call.received_at for call in fleet.calls("install", ids)}
    assert set(looked) == set(ids[2:])
    assert all(sent[each] >= looked[each] for each in looked)


def test_a_job_of_another_instance_is_left_alone(fleet: Fleet) -> None:
    foreign = accounts("foreign", 3)
    foreign_id = fleet.submit(foreign, CYCLR_CLIENT_ID=OTHER_CLIENT_ID)
    ours = fleet.submit(accounts("ours", 3))
    assert fleet.say("watch", ours).code == 0
    assert fleet.states(foreign_id) == ["queued"] * 3
    assert fleet.calls("install", foreign) == []
    assert fleet.settings["CYCLR_CLIENT_ID"] == CLIENT_ID
    assert fleet.say("cancel", foreign_id).code == 0
    fleet.wait_for(foreign_id, "cancelled")


def test_two_sweeps_and_a_flushed_broker_lose_nothing(fleet: Fleet) -> None:
    second = fleet.launch("sweep")
    eventually(lambda: second.err, "the second sweep has begun")
    ids = accounts("flushed", 10)
    job_id = fleet.submit(ids, "--first", "1")
    fleet.wait_for(job_id, "paused")
    # Resumed by hand, without the ring: the sweep has to notice.
    with redis.Redis.from_url(fleet.valkey.url) as client:
        assert fleet.say("resume", job_id).code == 0
        client.flushall()
    assert fleet.say("watch", job_id).code == 0
    assert len(fleet.calls("install", ids)) == 10

    began = time.monotonic()
    assert end(second) == 0
    assert time.monotonic() - began < 5
    events = [json.loads(line)["event"] for line in second.err.splitlines()]
    assert (events[0], events[-1]) == ("sweep_started", "sweep_ended")
    assert second.out == ""


def test_sigterm_drains_a_worker_and_gives_the_rest_back_at_once(fleet: Fleet) -> None:
    """To Celery's main process, as a container is stopped; then to its whole group, as a terminal does."""
    ids = accounts("drained", 300)
    hold_up(fleet, 0.5)
    job_id = fleet.submit(ids, "--no-look")
    fleet.wait_for_installs(ids, 20)
    drain(fleet, job_id, ids, to_group=False)
    fleet.launch_worker("--concurrency", "2")
    fleet.wait_for_installs(ids, len(fleet.calls("install", ids)) + 20)
    drain(fleet, job_id, ids, to_group=True)
    fleet.change(lambda world: world.faults.clear())
    fleet.launch_worker("--concurrency", "2")
    assert fleet.say("watch", job_id).code == 0
    assert fleet.calls("look", ids) == []
    assert len(fleet.calls("install", ids)) == 300


def drain(fleet: Fleet, job_id: str, ids: list[str], *, to_group: bool) -> None:
    processes = worker_processes(fleet.worker)
    began = time.monotonic()
    assert end(fleet.worker, to_group=to_group) == 0, fleet.worker.err
    assert time.monotonic() - began < TIMEOUT_S + 10
    eventually(lambda: all(map(has_ended, processes)), "its processes have ended too")
    called = {call.account_id for call in fleet.calls("install", ids)}
    items = fleet.items(job_id)
    assert {item.account_id for item in items if item.state == "installed"} == called
    rest = [item for item in items if item.account_id not in called]
    assert {(item.state, item.claim_id, item.must_look) for item in rest} == {("queued", None, False)}


def test_whoever_stops_watching_stops_nothing(fleet: Fleet) -> None:
    job_id = fleet.submit(accounts("watched", 3), CYCLR_CLIENT_ID=OTHER_CLIENT_ID)
    watcher = fleet.start("watch", job_id)
    eventually(lambda: "0 of 3: 0 done" in watcher.err, "it watches")
    watcher.send(signal.SIGINT)
    assert watcher.wait() == 3
    assert watcher.err.splitlines()[-1] == (
        f"Stopped watching. Job {job_id} goes on without you; `cyclr-bulk pause {job_id}` would stop it."
    )
    assert fleet.job(job_id).state == "running"
    assert fleet.say("cancel", job_id).code == 0
