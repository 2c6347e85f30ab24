import threading
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from tests.integration.store.databases import (
    CONNECTOR,
    INSTANCE,
    SEALER,
    Loads,
    ago,
    assert_counters_hold,
    change_items,
    change_job,
    end,
    only_sqlite,
    path_of,
    planned,
    refused_as_live,
    rows_of,
    settlement,
    take,
    url_of,
)
from worker.domain.rows import Problem, RefusedRow, SkippedRow, StoredRow, Warning_, Way
from worker.domain.states import Code, JobState, Outcome, PauseReason
from worker.domain.steps import STEPS
from worker.domain.targets import KnownTarget
from worker.domain.verdicts import GiveUp, Installed
from worker.store.claiming import count_due
from worker.store.instances import ensure_instance
from worker.store.job_states import pause_job, resume_job
from worker.store.jobs import get_job, list_warnings
from worker.store.loading import PIECE, Loader, LoadLost, NewJob, UnstorableText, new_job_id
from worker.store.memory import DatabaseMemory
from worker.store.sealing import Sealer
from worker.store.session import Engine, open_engine, reading
from worker.store.settling import settle
from worker.store.steering import forget_job
from worker.store.tables import (
    HELD_UNTIL,
    instances,
    items,
    job_connectors,
    job_warnings,
    jobs,
    metadata,
    unloaded_rows,
)
from worker.store.upkeep import delete_abandoned_loads

CREATED = Installed(Outcome.CREATED, 6508, True)
REFUSED = GiveUp(Code.REFUSED, "no such thing", 400)


def count(engine: Engine, table) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


# A job in pieces


def test_a_loaded_job_runs_and_holds_its_rows_in_order(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    job = get_job(engine, job_id)
    assert (job.state, job.total, job.held, job.refused, job.skipped) == (JobState.RUNNING, 3, 0, 0, 0)
    assert (job.columns, job.source_name) == (("account_id", "api_key"), "file.csv")
    assert job.started_at is not None
    assert [(row.row_number, row.account_id, row.target) for row in rows_of(engine, job_id)] == [
        (2, "a2", "target-2"),
        (3, "a3", "target-3"),
        (4, "a4", "target-4"),
    ]
    assert rows_of(engine, job_id)[0].cells == ["a2", "[not exported]"]


def put_secrets(engine: Engine, loads: Loads) -> None:
    """The values of 50 rows, and what one of them has overwritten."""
    job_id = loads.job(50)
    [item] = take(engine, 1)
    overwritten = {"former": {"api_key": "secret-of-before"}, "shown": {"AuthValue": "secret-shown"}}
    undo = SEALER.seal_undo(overwritten, job_id=job_id, row_number=item.row_number)
    updated = settlement(item, Installed(Outcome.UPDATED, 7, True), changed=("api_key",), undo=undo)
    settle(engine, [updated], pause_above_percent=1_000)


def test_no_secret_stands_in_the_database_in_clear(engine: Engine, loads: Loads):
    put_secrets(engine, loads)
    with reading(engine) as connection:
        for table in metadata.sorted_tables:
            assert "secret-" not in repr(connection.execute(select(table)).all()), table.name


@only_sqlite
def test_no_secret_stands_in_any_file_of_the_database(engine: Engine, loads: Loads):
    put_secrets(engine, loads)
    engine.dispose()
    for path in path_of(engine).parent.iterdir():
        assert b"secret-" not in path.read_bytes(), path.name


def test_rows_are_written_in_pieces_and_none_is_claimed_before_the_last(engine: Engine, loads: Loads):
    loader = loads.loader()
    for number in range(2, PIECE + 3):
        loader.add(planned(number), account_exists=True)
    assert count(engine, items) == PIECE
    assert count_due(engine, "instance-a", limit=9) == 0
    assert take(engine, is_idle=True) == []
    loader.finish()
    assert count(engine, items) == PIECE + 1
    assert get_job(engine, loader.job_id).total == PIECE + 1
    assert len(take(engine, 5)) == 5


def test_refused_and_skipped_rows_are_kept_beside_the_items(engine: Engine, loads: Loads):
    problem = Problem(3, "api_key", "expected a value, got an empty cell")
    rows = [
        planned(2),
        RefusedRow(3, ("a3", ""), (problem,)),
        SkippedRow(4, ("a4", "[not exported]"), "251101-bcdfgh", 9),
    ]
    job_id = loads.job(rows)
    job = get_job(engine, job_id)
    assert (job.total, job.refused, job.skipped, job.done_by) == (1, 1, 1, {"251101-bcdfgh": 1})
    with reading(engine) as connection:
        refused, skipped = connection.execute(select(unloaded_rows).order_by(unloaded_rows.c.row_number))
    assert (refused.row_number, refused.cells, refused.problems) == (
        3,
        ["a3", ""],
        [{"column": "api_key", "reason": "expected a value, got an empty cell"}],
    )
    assert (skipped.problems, skipped.installed_job_id, skipped.installed_row_number) == (
        None,
        "251101-bcdfgh",
        9,
    )
    assert_counters_hold(engine)


def test_what_helps_with_a_problem_is_kept_beside_its_reason(engine: Engine, loads: Loads):
    problem = Problem(3, "account_id", "'1.0' looks like a number", way=Way.ACCOUNT_IDS_AS_WRITTEN)
    loads.job([planned(2), RefusedRow(3, ("1.0", ""), (problem,))])
    with reading(engine) as connection:
        [refused] = connection.execute(select(unloaded_rows))
    assert refused.problems == [
        {
            "column": "account_id",
            "reason": "'1.0' looks like a number",
            "way": "account_ids_as_written",
        }
    ]


def test_the_first_hundred_warnings_are_kept_with_their_job_and_go_with_it(engine: Engine, loads: Loads):
    warnings = [Warning_(number, "colour\0", "half \ud800 a character") for number in range(2, 122)]
    loader = loads.loader()
    loader.add(planned(2), account_exists=True)
    loader.finish([Warning_(None, None, "of the whole file"), *warnings], 5_000)
    found = list_warnings(engine, loader.job_id)
    assert len(found) == 100
    assert found[:2] == [
        Warning_(None, None, "of the whole file"),
        Warning_(2, "colour?", "half ? a character"),
    ]
    assert get_job(engine, loader.job_id).warning_count == 5_000
    end(engine, (take(engine)[0], CREATED))
    change_job(engine, loader.job_id, state=JobState.COMPLETED)
    forget_job(engine, loader.job_id)
    assert count(engine, job_warnings) == 0


def test_a_job_without_warnings_has_none(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    assert (get_job(engine, job_id).warning_count, list_warnings(engine, job_id)) == (0, [])
    assert count(engine, job_warnings) == 0


def test_a_job_of_no_items_is_completed_at_once(engine: Engine, loads: Loads):
    job = get_job(engine, loads.job([SkippedRow(2, ("a2",), "251101-bcdfgh", 9)]))
    assert (job.state, job.total, job.skipped) == (JobState.COMPLETED, 0, 1)
    assert job.finished_at is not None


def test_an_abandoned_load_leaves_nothing(engine: Engine, loads: Loads):
    loader = loads.loader()
    for number in range(2, PIECE + 10):
        loader.add(planned(number), account_exists=True)
    loader.add(RefusedRow(9_000, (), (Problem(9_000, None, "no"),)), account_exists=False)
    loader.abandon()
    loader.abandon()
    assert [count(engine, table) for table in (jobs, items, job_connectors, unloaded_rows)] == [0, 0, 0, 0]


def test_a_running_job_cannot_be_abandoned(engine: Engine, loads: Loads):
    loader = loads.loader()
    loader.add(planned(2), account_exists=True)
    loader.finish()
    loader.abandon()
    assert get_job(engine, loader.job_id).state is JobState.RUNNING
    assert count(engine, items) == 1


def test_only_loads_that_were_not_seen_for_long_are_deleted(engine: Engine, loads: Loads):
    old, fresh, running = loads.loader(), loads.loader(), loads.loader()
    running.finish()
    change_job(engine, old.job_id, loader_seen_at=ago(minutes=5))
    change_job(engine, running.job_id, loader_seen_at=ago(minutes=5))
    assert delete_abandoned_loads(engine, older_than_s=120) == 1
    assert delete_abandoned_loads(engine, older_than_s=120) == 0
    assert get_job(engine, fresh.job_id).state is JobState.LOADING


def test_a_loader_that_was_taken_for_dead_finds_its_load_lost(engine: Engine, loads: Loads):
    loader = loads.loader()
    loader.add(planned(2), account_exists=True)
    change_job(engine, loader.job_id, loader_seen_at=ago(minutes=5))
    delete_abandoned_loads(engine, older_than_s=120)
    with pytest.raises(LoadLost, match="was taken for abandoned; nothing of it was installed, run it again"):
        loader.finish()
    assert count(engine, items) == 0


def test_a_loader_finds_its_load_lost_while_it_is_being_deleted(engine: Engine, loads: Loads):
    loader = loads.loader()
    loader.add(planned(2), account_exists=True)
    change_job(engine, loader.job_id, loader_seen_at=None)
    with pytest.raises(LoadLost):
        loader.finish()
    assert delete_abandoned_loads(engine, older_than_s=120) == 1


def test_a_final_items_target_may_be_live_again(engine: Engine, loads: Loads):
    loads.job(1)
    end(engine, *((item, REFUSED) for item in take(engine)))
    job_id = loads.job([planned(2, must_look=True)])
    [item] = take(engine)
    assert (item.job_id, item.must_look) == (job_id, True)


def test_the_columns_whose_values_are_not_kept_stay_with_the_row(engine: Engine, loads: Loads):
    loads.job([planned(2, secrets={}, must_look=True, not_kept=("api_key", "property.Pin")), planned(3)])
    found = {item.row_number: item.not_kept for item in take(engine)}
    assert found == {2: ("api_key", "property.Pin"), 3: ()}


# Texts that no database takes


@pytest.mark.parametrize("bad", ["a\x00b", "half \ud800 a character"])
@pytest.mark.parametrize("column", ["account_id", "description", "name"])
def test_a_row_with_a_text_that_cannot_be_kept_is_named_and_nothing_is_left(
    engine: Engine, loads: Loads, column: str, bad: str
):
    row = planned(14)
    bad_row = (
        replace(row, name=bad) if column == "name" else replace(row, row=replace(row.row, **{column: bad}))
    )
    loader = loads.loader()
    loader.add(planned(2), account_exists=True)
    with pytest.raises(UnstorableText) as caught:
        loader.add(bad_row, account_exists=True)
    assert str(caught.value) == (
        f"row 14, column {column}: expected text, got a NUL or half a character; nothing was installed"
    )
    loader.abandon()
    assert [count(engine, table) for table in (jobs, items)] == [0, 0]


def test_cells_and_secrets_may_hold_any_text_and_a_files_name_any_byte(engine: Engine, loads: Loads):
    odd = "a\x00b\ud800\t\\N\n\\."
    row = planned(2, cells=("a2", odd), secrets={"api_key": odd})
    ensure_instance(engine, "instance-a", "api.example.com")
    new_job = NewJob("caf\udce9\x00.csv", "f" * 64, ("account_id", odd))
    loader = Loader(engine, SEALER, "instance-a", new_job, refuse=refused_as_live)
    loader.add_connector("acme", CONNECTOR)
    loader.add(row, account_exists=True)
    loader.finish()
    job = get_job(engine, loader.job_id)
    assert (job.source_name, job.columns) == ("caf??.csv", ("account_id", odd))
    assert [stored.cells for stored in rows_of(engine, loader.job_id)] == [["a2", odd]]
    assert [item.secrets for item in take(engine)] == [{"api_key": odd}]


@pytest.mark.parametrize("odd", ["\\N", "\\.", "tab\there", "line\nbreak", "back\\slash", "", "ü€𝄞"])
def test_texts_come_back_as_they_were(engine: Engine, loads: Loads, odd: str):
    row = planned(2)
    job_id = loads.job([replace(row, row=replace(row.row, description=odd))])
    assert [stored.description for stored in rows_of(engine, job_id)] == [odd]


# The first rows


def test_rows_beyond_the_first_are_held_back_and_let_go_by_a_resume(engine: Engine, loads: Loads):
    job_id = loads.job(6, first=2)
    assert get_job(engine, job_id).held == 4
    assert [row.due_at == HELD_UNTIL for row in rows_of(engine, job_id)] == [False] * 2 + [True] * 4
    assert count_due(engine, "instance-a", limit=9) == 2
    end(engine, *((item, CREATED) for item in take(engine)))
    assert get_job(engine, job_id).pause_reason is PauseReason.FIRST_ROWS
    assert resume_job(engine, job_id, first=3)
    assert get_job(engine, job_id).held == 1
    assert sorted(item.row_number for item in take(engine)) == [4, 5, 6]
    pause_job(engine, job_id, PauseReason.PERSON)
    assert resume_job(engine, job_id, first=None)
    assert get_job(engine, job_id).held == 0
    assert [item.row_number for item in take(engine)] == [7]


def test_more_first_rows_than_there_are_hold_nothing_back(engine: Engine, loads: Loads):
    job_id = loads.job(2, first=10)
    end(engine, *((item, CREATED) for item in take(engine)))
    job = get_job(engine, job_id)
    assert (job.held, job.state) == (0, JobState.COMPLETED)


# What is known of targets and secrets


def test_nothing_is_known_of_new_targets(engine: Engine, loads: Loads):
    loads.job(1)
    assert DatabaseMemory(engine, SEALER).targets(["target-9"]) == {}
    assert DatabaseMemory(engine, SEALER).targets([]) == {}


def test_a_live_target_names_its_job_and_row(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    take(engine, 1)
    assert DatabaseMemory(engine, SEALER).targets(["target-2", "target-3"]) == {
        "target-2": KnownTarget("live", job_id, 2),
        "target-3": KnownTarget("live", job_id, 3),
    }


@pytest.mark.parametrize(
    ("adopted", "state"),
    [
        (Installed(Outcome.ADOPTED, 7, True), "installed"),
        (Installed(Outcome.ADOPTED, 7, True, ("description",)), "installed"),
        (Installed(Outcome.ADOPTED, 7, False, ("api_key",)), "tried"),
        (Installed(Outcome.ADOPTED, None, None, code=Code.PRESENT_UNDER_OTHER_NAME), "tried"),
        (Installed(Outcome.UNCHANGED, 7, True, ("property.Pin (not shown)",)), "installed"),
    ],
)
def test_what_a_version_before_has_left_alone_is_not_done(
    engine: Engine, loads: Loads, adopted: Installed, state: str
):
    job_id = loads.job(1)
    end(engine, *((item, adopted) for item in take(engine)))
    known = DatabaseMemory(engine, SEALER).targets(["target-2"])
    assert known == {"target-2": KnownTarget(state, job_id, 2)}


def test_items_count_on_so_that_what_came_after_is_known(engine: Engine, loads: Loads):
    first = loads.job(1)
    end(engine, *((item, CREATED) for item in take(engine)))
    later = loads.job([planned(2, must_look=True)])
    end(engine, *((item, REFUSED) for item in take(engine)))
    memory = DatabaseMemory(engine, SEALER)
    done = memory.targets(["target-2"])["target-2"]
    assert (done.state, done.job_id) == ("installed", first)
    rows = memory.stored_rows([(first, 2), (later, 2)])
    assert rows[first, 2].item_id == done.item_id < rows[later, 2].item_id


def test_what_a_target_came_to_is_known_afterwards(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    first, second = take(engine, 2)
    end(engine, (first, CREATED), (second, REFUSED))
    change_items(engine, job_id, 4, state="cancelled")
    assert DatabaseMemory(engine, SEALER).targets(["target-2", "target-3", "target-4"]) == {
        "target-2": KnownTarget("installed", job_id, 2),
        "target-3": KnownTarget("tried", job_id, 3),
    }


def test_a_cancelled_item_that_may_have_been_sent_counts_as_tried(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_items(engine, job_id, state="cancelled", maybe_sent=True)
    assert DatabaseMemory(engine, SEALER).targets(["target-2"])["target-2"].state == "tried"


def test_live_goes_before_installed_and_installed_before_tried(engine: Engine, loads: Loads):
    installed = loads.job(1)
    end(engine, *((item, CREATED) for item in take(engine)))
    loads.job(1)
    end(engine, *((item, REFUSED) for item in take(engine)))
    assert DatabaseMemory(engine, SEALER).targets(["target-2"]) == {
        "target-2": KnownTarget("installed", installed, 2)
    }
    live = loads.job(1)
    assert DatabaseMemory(engine, SEALER).targets(["target-2"]) == {"target-2": KnownTarget("live", live, 2)}


def test_of_several_alike_the_latest_is_named(engine: Engine, loads: Loads):
    for _ in range(2):
        latest = loads.job(1)
        end(engine, *((item, REFUSED) for item in take(engine)))
    assert DatabaseMemory(engine, SEALER).targets(["target-2"]) == {
        "target-2": KnownTarget("tried", latest, 2)
    }


def test_rows_that_are_being_loaded_are_not_live_yet(engine: Engine, loads: Loads):
    installed = loads.job(1)
    end(engine, *((item, CREATED) for item in take(engine)))
    loader = loads.loader()
    for number in range(2, PIECE + 2):
        loader.add(planned(number), account_exists=True)
    assert DatabaseMemory(engine, SEALER).targets(["target-2", "target-3"]) == {
        "target-2": KnownTarget("installed", installed, 2)
    }


def test_many_targets_are_asked_for_in_parts(engine: Engine, loads: Loads):
    loads.job(1_200)
    assert (
        len(DatabaseMemory(engine, SEALER).targets([f"target-{number}" for number in range(2, 1_202)]))
        == 1_200
    )


def test_stored_rows_are_found_by_job_and_row(engine: Engine, loads: Loads):
    refused = RefusedRow(
        1_000, ("a", ""), (Problem(1_000, "api_key", "expected a value, got an empty cell"),)
    )
    job_id = loads.job([*(planned(number) for number in range(2, 602)), refused])
    change_items(engine, job_id, 3, sealed=None)
    change_items(engine, job_id, 4, sealed=SEALER.seal({}, job_id="another", row_number=4))
    wanted = [(job_id, number) for number in (*range(2, 700), 1_000)]
    found = DatabaseMemory(engine, SEALER).stored_rows([*wanted, ("no-job", 2)])
    assert len(found) == 601
    assert found[job_id, 2] == StoredRow(
        "instance-a", "a2", "Acme", "acme", ("Acme CRM", "1.0"), {"api_key": "secret-2"}
    )
    assert [found[job_id, number].secrets for number in (3, 4)] == [None, None]
    assert found[job_id, 1_000] is None
    assert (job_id, 650) not in found


def test_a_refused_row_leads_to_the_item_that_it_referred_to_without_its_secrets(
    engine: Engine, loads: Loads
):
    def refused(number: int, *cells: str) -> RefusedRow:
        return RefusedRow(number, cells, (Problem(number, "account_id", "expected another id"),))

    def result(*rows: RefusedRow) -> str:
        return loads.job(rows, columns=("account_id", " _Job", "_row"))

    first = loads.job(2)
    second = result(
        refused(2, "9", first, "3"),
        refused(3, "9", first, "7"),
        refused(4, "9", "[not exported]", "3"),
        refused(5, "9", first, "three"),
        refused(6, "9"),
    )
    third = result(refused(2, "9", second, "2"))
    item = StoredRow("instance-a", "a3", "Acme", "acme", ("Acme CRM", "1.0"), {}, (first, 3))
    wanted = [(second, number) for number in range(2, 7)] + [(third, 2)]
    assert DatabaseMemory(engine, SEALER).stored_rows(wanted) == {
        (second, 2): item,
        (second, 3): None,
        (second, 4): None,
        (second, 5): None,
        (second, 6): None,
        (third, 2): item,
    }


def test_secrets_under_another_key_cannot_be_found(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    (found,) = DatabaseMemory(engine, Sealer({"k2": b"2" * 32})).stored_rows([(job_id, 2)]).values()
    assert found.secrets is None


def test_rows_of_a_job_are_found_by_their_targets(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    asked = [(job_id, "target-3"), (job_id, "target-9"), ("other", "target-2")]
    assert DatabaseMemory(engine, SEALER).namesakes(asked) == {(job_id, "target-3"): 3}


def test_an_instance_is_made_once_however_many_ask(engine: Engine):
    begin = threading.Barrier(4)

    def ask() -> None:
        mine = open_engine(url_of(engine))
        begin.wait()
        ensure_instance(mine, "shared", "api.example.com")
        mine.dispose()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    ensure_instance(engine, "shared", "another.example.com")
    with reading(engine) as connection:
        assert connection.execute(select(instances.c.id, instances.c.api_host)).all() == [
            ("shared", "api.example.com")
        ]


def test_a_job_id_names_its_day_and_fits_its_column():
    job_id = new_job_id(ago(seconds=0).replace(year=2026, month=11, day=21))
    assert job_id.startswith("261121-")
    assert len(job_id) == 13


# What earlier items of the same target know of it


def test_what_cyclr_showed_otherwise_reaches_later_rows_of_the_same_target(engine: Engine, loads: Loads):
    loads.job(4)
    first, second, third, fourth = take(engine)
    shown = {"shown_otherwise": ("property.Region", "property.Size")}
    settle(
        engine,
        [
            settlement(first, CREATED, **shown),
            settlement(second, REFUSED, shown_otherwise=("description",)),
            settlement(third, CREATED),
            settlement(fourth, CREATED),
        ],
        pause_above_percent=1_000,
    )
    # Known when they were planned; tried since then; nothing was shown otherwise; a target of its own.
    later = [planned(2, must_look=True), planned(3), planned(4, must_look=True), planned(9)]
    loads.job(later)
    again = {item.row_number: item for item in take(engine)}
    assert {number: item.notes.shown_otherwise for number, item in again.items()} == {
        2: ("property.Region", "property.Size"),
        3: ("description",),
        4: (),
        9: (),
    }
    end(engine, (again[2], CREATED))
    loads.job([planned(2, must_look=True)])
    [last] = [item for item in take(engine) if item.row_number == 2]
    assert last.notes.shown_otherwise == ("property.Region", "property.Size")


def test_a_jobs_operation_is_kept_and_claimed_with_its_rows(engine: Engine, loads: Loads, monkeypatch):
    monkeypatch.setitem(STEPS, "update", STEPS["install"])
    ensure_instance(engine, INSTANCE, "api.example.com")
    new_job = NewJob("file.csv", "f" * 64, ("account_id",), operation="update")
    loader = Loader(engine, SEALER, INSTANCE, new_job, refuse=refused_as_live)
    loader.add_connector("acme", CONNECTOR)
    loader.add(planned(2), account_exists=True)
    loader.finish()
    assert get_job(engine, loader.job_id).operation == "update"
