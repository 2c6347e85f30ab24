from datetime import UTC, datetime

import pytest

from tests.integration.store.databases import INSTANCE, OTHER_INSTANCE
from worker.store.instances import DatabaseGate, ensure_instance
from worker.store.session import Engine

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ONE = datetime(2026, 11, 21, 13, tzinfo=UTC)


@pytest.fixture
def gate(engine: Engine) -> DatabaseGate:
    ensure_instance(engine, INSTANCE, "api.example.com")
    ensure_instance(engine, OTHER_INSTANCE, "api.example.com")
    return DatabaseGate(engine, INSTANCE)


def test_a_gate_that_was_never_closed_is_none(gate: DatabaseGate):
    assert gate.load_gate() is None


def test_a_gate_is_only_ever_prolonged(gate: DatabaseGate):
    for until, kept in [(NOON, NOON), (ONE, ONE), (NOON, ONE), (ONE, ONE)]:
        gate.save_gate(until)
        assert gate.load_gate() == kept


def test_a_gate_is_of_one_instance(gate: DatabaseGate, engine: Engine):
    gate.save_gate(NOON)
    assert DatabaseGate(engine, OTHER_INSTANCE).load_gate() is None
