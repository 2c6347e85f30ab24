"""How often the loop asks the database what is due."""

from typing import Any

from sqlalchemy import event

from tests.clocks import HeldClock
from tests.end_to_end.conftest import MakeRig
from tests.end_to_end.harness import row


def test_one_count_of_what_is_due_serves_many_claims(make_rig: MakeRig) -> None:
    accounts = [f"account-{n:03d}" for n in range(400)]
    rig = make_rig(*accounts, cyclr_concurrency=10)
    job_id = rig.load(*(row(account) for account in accounts))
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(rig.engine, "before_cursor_execute", note)
    rig.play(rig.new_run(clock=HeldClock()).run(for_s=60))
    counts = [statement for statement in asked if statement.startswith("SELECT count(")]
    claims = [
        statement for statement in asked if statement.startswith("UPDATE items SET state=?, claim_id=?")
    ]
    assert rig.job(job_id).installed == 400
    assert len(claims) >= 40
    assert 2 * len(counts) < len(claims)
