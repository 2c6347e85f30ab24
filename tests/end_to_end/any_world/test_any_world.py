"""Any world, any file, any options of `run` and `update`, however this Cyclr behaves: what always holds."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.end_to_end.any_world.evidence import Evidence
from tests.end_to_end.any_world.scenes import (
    CREDENTIALS,
    CRM,
    DESK,
    KEYS,
    MAIL,
    THEIR_KEY,
    Line,
    Scene,
    Thing,
    new_world,
    scenes,
)
from tests.end_to_end.any_world.stage import Stage
from tests.end_to_end.any_world.table import as_shown, columns, ends
from tests.end_to_end.harness import CLIENT_ID, CLIENT_SECRET
from tests.integration.store.databases import SqliteStores
from worker.simulator.server import SimulatorThread

SETTINGS = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, databases: SqliteStores) -> Iterator[Stage]:
    with SimulatorThread(new_world(CLIENT_ID, CLIENT_SECRET)) as simulator:
        engine = databases.new()
        stage = Stage(tmp_path_factory.mktemp("any-world"), engine, simulator)
        yield stage
        stage.rig.end()
        databases.drop(engine)


def assert_what_always_holds(evidence: Evidence) -> None:
    evidence.assert_nothing_is_overwritten()
    evidence.assert_never_two()
    evidence.assert_done_is_as_asked()
    evidence.assert_what_changed_is_told()
    evidence.assert_failures_are_true()


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_where_nothing_fails_every_row_ends_as_the_table_says(stage: Stage) -> None:
    @SETTINGS
    @given(scene=scenes(with_trouble=False))
    def play(scene: Scene) -> None:
        evidence = stage.play(scene)
        for line in scene.lines:
            assert_ended_by_the_table(evidence, line)
        assert_what_always_holds(evidence)
        assert_nothing_is_left_to_do(evidence, stage.play_again(evidence))

    for scene in EACH_LINE_OF_THE_TABLE:
        play = example(scene)(play)
    play()
    missed = WANTED - set(stage.endings)
    assert not missed, f"no row ended {missed}"


WANTED = {
    "created", "filled_in", "updated", "unchanged", "differs", "present_under_other_name", "name_in_use", "not_there",
    "method_unknown", "ambiguous",
}  # fmt: skip
KEY = KEYS[0]


def one(thing: Thing | None, line: Line, operation: str = "install", *options: str) -> Scene:
    """One account with one thing, and a row for it."""
    return Scene({"acme": (thing,) if thing else ()}, (line,), operation, frozenset(options), {})


def mail(cell: str = "") -> Line:
    return Line("acme", MAIL, cell, {"api_key": KEY}, KEY, {"Region": "EU"}, "")


EACH_LINE_OF_THE_TABLE = (
    one(None, mail()),
    one(None, mail(), "update"),
    one(Thing(MAIL, MAIL, KEY, properties={"Region": "EU"}), mail()),
    one(Thing(MAIL, MAIL, None, properties={"Region": "EU"}), mail()),
    one(Thing(MAIL, MAIL, None, properties={"Region": "US"}), mail()),
    one(Thing(MAIL, MAIL, THEIR_KEY, properties={"Region": "US"}), mail(), "install", "overwrite"),
    one(Thing(MAIL, "Main", KEY), mail()),
    one(Thing(CRM, MAIL), mail()),
    one(Thing(DESK, DESK), Line("acme", DESK, "", *CREDENTIALS[DESK][0], {}, "")),
    Scene(
        {"acme": (Thing(MAIL, MAIL), Thing(MAIL, MAIL))},
        (mail(),),
        "install",
        frozenset(),
        {"name_check": False},
    ),
)


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_whatever_fails_and_whoever_is_about_nothing_is_overwritten_and_nothing_is_twice(
    stage: Stage,
) -> None:
    @SETTINGS
    @given(scene=scenes(with_trouble=True))
    def play(scene: Scene) -> None:
        assert_what_always_holds(stage.play(scene))

    play()


def assert_ended_by_the_table(evidence: Evidence, line: Line) -> None:
    scene, item = evidence.scene, evidence.item(line)
    there = None
    if line.account in evidence.seeded:
        held = evidence.seeded[line.account].values()
        there = [(each.connector, as_shown(each.state, scene)) for each in held]
    expected = ends(line, there, scene)
    how = item.outcome or item.code
    assert how in expected.how, f"{line}: {how} ({item.message}), not {set(expected.how)}"
    if item.outcome not in ("created", "recovered"):
        assert set(item.changed or ()) == expected.changed
        changes = evidence.changes_of(line)
        named = {"description" if key == "Description" else key for c in changes for key in c.named}
        assert columns(line, named) == expected.changed
    if expected.differs is not None and how != "method_unknown":
        assert without_living(line, item.differs) == expected.differs


def without_living(line: Line, differs: Sequence[str] | None) -> set[str]:
    """Living credentials are never compared: whether they are named as not shown does not matter."""
    unseen = {f"{column} (not shown)" for column in line.credential_columns if line.is_living}
    return set(differs or ()) - unseen


def assert_nothing_is_left_to_do(first: Evidence, again: Evidence) -> None:
    """The same file once more changes nothing, but for what this Cyclr hides, and tokens that are to be replaced."""
    scene = first.scene
    for line in scene.lines:
        before, now = first.item(line), again.item(line)
        if before.state == "failed":
            assert (now.state, now.code) == (before.state, before.code)
            continue
        assert now.state == "installed"
        is_hidden = any(name.startswith("masks_") for name in scene.switches)
        if not scene.may_overwrite or not (is_hidden or line.is_living):
            assert (now.outcome, again.changes_of(line)) == ("unchanged", [])
    assert_what_always_holds(again)
