"""What must hold at the end of every story, whatever died in it."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

from sqlalchemy import func, select

from tests.end_to_end.processes.site import BURST, CALLS_PER_SECOND, Site
from tests.limits import assert_within_bound
from worker.simulator.ledger import Call
from worker.store.session import reading
from worker.store.tables import items, jobs

# The product keeps to 0.5 s, which the limiter's own tests hold it to. Here the simulator shares an interpreter with
# the test, so a busy machine stamps calls late that were sent in time; a lost limit would show as 2 s and more.
SLACK_S = 1.0


def assert_all_installed(site: Site, accounts: int, *, job_count: int = 1) -> None:
    """Every row is installed, its secrets are gone, and the jobs are completed."""
    assert [job.state for job in site.jobs()] == ["completed"] * job_count
    assert Counter(item.state for item in site.items()) == {"installed": accounts}
    assert [item.row_number for item in site.items() if item.sealed is not None] == []
    assert_counters_are_true(site)
    holders = Counter(effect.account_id for effect in site.simulator.ledger.effects_of("installed"))
    assert len(holders) == accounts


def assert_never_wrong(site: Site, *, seen_in_valkey: bytes = b"") -> None:
    """Nothing twice, the limit kept, one call at a time for each target, and no secret anywhere."""
    assert_nothing_twice(site)
    assert_within_the_limit(site)
    assert_one_call_at_a_time(site)
    assert_no_secret(site, seen_in_valkey)


def assert_counters_are_true(site: Site) -> None:
    """The counters of every job equal what its rows say, in one view of the database."""
    with reading(site.engine) as connection:
        for job in connection.execute(select(jobs).where(jobs.c.state != "loading")).all():
            grouped = (
                select(items.c.state, func.count()).where(items.c.job_id == job.id).group_by(items.c.state)
            )
            states = dict(connection.execute(grouped).all())
            counters = {"installed": job.installed, "failed": job.failed, "cancelled": job.cancelled}
            assert counters == {state: states.get(state, 0) for state in counters}
            assert job.total == sum(states.values())


def watch_counters(site: Site) -> None:
    """As `assert_counters_are_true`, as soon as there is a database with tables."""
    if site.has_tables():
        assert_counters_are_true(site)


def assert_nothing_twice(site: Site) -> None:
    ledger = site.simulator.ledger
    made = Counter((effect.account_id, effect.name) for effect in ledger.effects_of("installed"))
    assert [target for target, count in made.items() if count > 1] == []
    assert site.change(lambda world: world.count_doubles()) == 0
    held = site.change(lambda world: [len(account.connectors) for account in world.accounts.values()])
    assert max(held) <= 1


def assert_within_the_limit(site: Site) -> None:
    received = [call.received_at for call in site.simulator.ledger.calls]
    assert_within_bound(received, rate=CALLS_PER_SECOND, burst=BURST, slack_s=SLACK_S)


def assert_one_call_at_a_time(site: Site) -> None:
    by_target: dict[tuple[str, str] | None, list[Call]] = {}
    for call in site.installs():
        by_target.setdefault(call.target, []).append(call)
    for calls in by_target.values():
        for earlier, later in pairwise(calls):
            assert earlier.ended_at is not None, f"two install calls at once: {earlier.account_id}"
            assert earlier.ended_at <= later.received_at, f"two install calls at once: {earlier.account_id}"


def assert_no_secret(site: Site, seen_in_valkey: bytes = b"") -> None:
    """In no file but the input, in no output, not in the Valkey: partner's secret, tokens, credentials of rows."""
    inputs = {path for path in site.folder.glob("*.csv") if ".results" not in path.name}
    files = [path for path in site.folder.rglob("*") if path.is_file() and path not in inputs]
    places = {str(path.relative_to(site.folder)): path.read_bytes() for path in files}
    places["the Valkey"] = seen_in_valkey
    secrets = site.secrets | site.change(lambda world: set(world.tokens.bearers))
    found = [place for place, content in places.items() if any(s.encode() in content for s in secrets)]
    assert found == []
    assert any(place.endswith(".log") for place in places)


def result_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.results*.csv"))
