"""What our own rows have in an account."""

from tests.integration.store.databases import Loads, change_items, planned, rows_of, take
from worker.domain.targets import target_key
from worker.store.neighbours import has_made_by_method, list_ours
from worker.store.session import Engine


def test_names_of_the_jobs_own_rows_are_ours(engine: Engine, loads: Loads) -> None:
    job_id = loads.job([planned(2)], no_look=True)
    [item] = take(engine)
    [row] = rows_of(engine, job_id)
    change_items(engine, job_id, target=target_key(item.instance_id, row.account_id, row.name))
    assert list_ours(engine, item, {7: row.name.upper(), 8: "Another"}) == {7}
    assert list_ours(engine, item, {}) == set()


def test_what_a_row_of_another_job_has_made_is_ours_and_what_it_has_found_is_not(
    engine: Engine, loads: Loads
) -> None:
    made = loads.job([planned(2)], no_look=True)
    [row] = rows_of(engine, made)
    target = target_key("instance-a", row.account_id, row.name)
    change_items(
        engine, made, state="failed", target=target, account_connector_id=7, steps_done=["connector"]
    )
    other = loads.job([planned(2)], no_look=True)
    [item] = take(engine)
    assert item.job_id == other
    assert list_ours(engine, item, {7: row.name}) == {7}
    assert list_ours(engine, item, {8: row.name}) == set()
    assert has_made_by_method(engine, item, 7)
    assert not has_made_by_method(engine, item, 8)
    change_items(engine, made, authentication_id="another-method")
    assert not has_made_by_method(engine, item, 7)
    change_items(engine, made, steps_done=["credential"], is_ours=False)
    assert list_ours(engine, item, {7: row.name}) == set()
    change_items(engine, made, is_ours=True)
    assert list_ours(engine, item, {7: row.name}) == {7}
