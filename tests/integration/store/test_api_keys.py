"""API keys, on both databases."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from worker.store.api_keys import Scope, create_key, find_key, find_key_of_text, list_keys, revoke_key
from worker.store.session import Engine, reading, writing
from worker.store.tables import api_keys

DAY = timedelta(days=1)


def test_a_key_is_known_by_its_text_alone(engine: Engine):
    made, text = create_key(engine, name="Ada", scope=Scope.WRITE, lasts=DAY)
    assert find_key_of_text(engine, text) == made
    assert (made.name, made.scope, made.revoked_at) == ("Ada", Scope.WRITE, None)
    assert made.expires_at is not None
    assert made.expires_at - made.created_at == DAY
    for wrong in (
        "",
        "cbk",
        text[:-1],
        text + "x",
        text.replace("cbk_", "cbl_"),
        f"cbk_{made.id}_",
        "cbk_\0_x",
    ):
        assert find_key_of_text(engine, wrong) is None


def test_the_text_of_a_key_is_not_in_the_database(engine: Engine):
    _, text = create_key(engine, name="Ada", scope=Scope.READ, lasts=None)
    secret = text.split("_", 2)[2]
    with reading(engine) as connection:
        [row] = connection.execute(select(api_keys))
    assert secret not in repr(tuple(row))
    assert len(secret) >= 43


def test_an_expired_key_opens_nothing(engine: Engine):
    made, text = create_key(engine, name="Ada", scope=Scope.READ, lasts=DAY)
    past = datetime.now(UTC) - timedelta(seconds=1)
    writing(engine, lambda connection: connection.execute(update(api_keys).values(expires_at=past)))
    assert find_key_of_text(engine, text) is None
    assert find_key(engine, made.id) is None
    assert [key.id for key in list_keys(engine)] == [made.id]


def test_a_revoked_key_opens_nothing_and_is_still_listed(engine: Engine):
    made, text = create_key(engine, name="Ada", scope=Scope.READ, lasts=None)
    other, other_text = create_key(engine, name="Bob", scope=Scope.READ, lasts=None)
    assert revoke_key(engine, made.id)
    assert find_key_of_text(engine, text) is None
    assert find_key(engine, made.id) is None
    assert find_key_of_text(engine, other_text) == other
    [first] = [key.revoked_at for key in list_keys(engine) if key.id == made.id]
    assert first is not None
    assert revoke_key(engine, made.id)
    assert [key.revoked_at for key in list_keys(engine) if key.id == made.id] == [first]


def test_only_a_key_that_is_there_is_revoked(engine: Engine):
    assert not revoke_key(engine, "nowhere1")
