"""Guesses side by side gain nothing, and shut nobody out who works."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from tests.integration.web.site import Site, wait_until
from worker.clock import Clock
from worker.web.access import Brake


def status(site: Site, key: str) -> int:
    return site.client(key).get("/v1/jobs").status_code


def test_a_hundred_guesses_side_by_side_are_not_a_hundred_tries(site: Site):
    brake = site.app.state.access.brake
    brake.MOST_OF_ONE = 3
    brake.FIRST_S = brake.LONGEST_S = 6.0  # so long that all others come while the first ones wait
    known, fresh = site.key(name="works"), site.key(name="has never called")
    assert status(site, known) == 200
    with ThreadPoolExecutor(100) as pool:
        guesses = [pool.submit(status, site, f"cbk_guess{number}_x") for number in range(100)]
        wait_until(lambda: brake._waiting >= 3)
        # Whoever has called before is served; another key is not looked at before its turn, though it is right.
        assert status(site, known) == 200
        assert status(site, fresh) == 429
        found = [guess.result() for guess in guesses]
    assert set(found) == {401, 429}
    assert found.count(401) <= 9
    assert status(site, fresh) == 200
    assert (brake._waiting, brake._turns) == (0, {})


def test_a_known_key_that_was_revoked_takes_its_turn_like_any_other(site: Site):
    from tests.integration.web.test_permissions import key_that_was_revoked

    access = site.app.state.access
    revoked = key_that_was_revoked(site)
    assert status(site, revoked) == 401
    assert len(access._known) == 0
    assert len(access.brake._tries) == 2  # the address, and the id


async def waits(brake: Brake, *tries: tuple[str, str]) -> list[float]:
    """How long each wrong key waits."""
    return [max(brake._wait_s(mark) for mark in brake.marks(*each)) for each in tries]


def test_tries_are_counted_by_address_and_by_the_id_in_the_key():
    brake = Brake(Clock())
    one_id = [(f"203.0.113.{number}", "cbk_abc_x") for number in range(4)]
    assert asyncio.run(waits(brake, *one_id)) == [0.1, 0.2, 0.4, 0.8]
    one_network = [(f"2001:db8::{number}", f"cbk_{number}_x") for number in range(4)]
    assert asyncio.run(waits(brake, *one_network)) == [0.1, 0.2, 0.4, 0.8]
    assert asyncio.run(waits(brake, ("198.51.100.1", "anything"))) == [0.1]


def test_what_is_counted_does_not_grow_for_ever():
    brake = Brake(Clock())
    brake.MOST_MARKS = 50
    asyncio.run(
        waits(brake, *[(f"10.0.{number}.1", f"cbk_{number}_{'x' * 10_000}") for number in range(200)])
    )
    assert len(brake._tries) == 50
