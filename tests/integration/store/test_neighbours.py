"""What our own rows have in an account, in both databases."""

from dataclasses import replace

from tests.integration.store.databases import INSTANCE, Loads, change_items, planned, settlement, take
from worker.domain.rows import PlannedRow
from worker.domain.states import Code, Outcome
from worker.domain.targets import target_key
from worker.domain.verdicts import Installed, LookFirst
from worker.store.neighbours import has_made_by_method, list_ours
from worker.store.session import Engine
from worker.store.settling import settle


def named(number: int, name: str, account_id: str = "acme") -> PlannedRow:
    row = planned(number, name=name, target=target_key(INSTANCE, account_id, name))
    return replace(row, row=replace(row.row, account_id=account_id))


def test_names_of_the_rows_job_and_what_a_row_of_ours_made_are_our_own(engine: Engine, loads: Loads):
    names = ("Made", "Found", "Before", "Begun", "Lost", "Made anew")
    loads.job([named(number, name) for number, name in enumerate(names, start=2)])
    found = {item.name: item for item in take(engine)}
    made = Installed(Outcome.CREATED, 71, True, is_ours=True)
    cut = LookFirst(0, Code.NO_ANSWER, "cut")
    settle(
        engine,
        [
            settlement(found["Made"], made),
            settlement(found["Found"], Installed(Outcome.UNCHANGED, 72, True, is_ours=False)),
            settlement(found["Before"], replace(made, account_connector_id=73, is_ours=None)),
            settlement(found["Begun"], cut, steps_done=("connector",), account_connector_id=74),
            settlement(found["Lost"], Installed(Outcome.RECOVERED, 75, True)),
            settlement(found["Made anew"], replace(made, account_connector_id=76)),
        ],
        pause_above_percent=1_000,
    )
    loads.job([named(20, "Mine"), named(21, "Also Mine"), named(22, "Elsewhere", "globex")])
    mine = {item.name: item for item in take(engine)}
    there = {
        71: "MADE ",
        72: "Found",
        73: "Before",
        74: "Begun",
        75: "Lost",
        80: "Also mine",
        81: "Elsewhere",
        82: "Nobody's",
        83: "Made anew",  # the last by somebody who deleted ours
    }
    assert list_ours(engine, mine["Mine"], there) == {71, 73, 74, 80}
    assert list_ours(engine, replace(mine["Mine"], instance_id="b"), there) == set()
    assert list_ours(engine, mine["Mine"], {}) == set()


def test_by_which_method_it_was_installed_is_known_where_a_row_of_ours_did_it(engine: Engine, loads: Loads):
    made = loads.job([named(2, "Made")])
    [first] = take(engine)
    settle(
        engine,
        [settlement(first, Installed(Outcome.CREATED, 71, True, is_ours=True))],
        pause_above_percent=1_000,
    )
    loads.job([named(3, "Made")])
    [item] = take(engine)
    assert has_made_by_method(engine, item, 71)
    assert not has_made_by_method(engine, item, 72)
    change_items(engine, made, authentication_id="another-method")
    assert not has_made_by_method(engine, item, 71)
