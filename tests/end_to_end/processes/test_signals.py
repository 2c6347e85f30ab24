"""Ctrl-C, SIGTERM and SIGHUP to `run` in the middle of it: settled, given back, said how to go on, nothing left."""

import shlex
import signal
from functools import partial

import pytest

from tests.end_to_end.processes.commands import Command, Terminal, eventually
from tests.end_to_end.processes.evidence import (
    assert_all_installed,
    assert_never_wrong,
    result_files,
    watch_counters,
)
from tests.end_to_end.processes.site import Site, account_ids, open_site
from worker.simulator.faults import silence

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ACCOUNTS = 600  # so many that three commands are interrupted before the last row


def test_each_signal_pauses_the_job_and_the_printed_command_line_goes_on_to_the_end(tmp_path):
    """Of one job: what the one command says is typed for the next, which is interrupted too."""
    with open_site(tmp_path, account_ids(ACCOUNTS)) as site:
        command = site.run(site.file(account_ids(ACCOUNTS)), "--no-look")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            site.wait_for_installs(len(site.installs()) + 30, interrupted=site.commands[:-1])
            command.send(number)
            assert command.wait(meanwhile=partial(watch_counters, site)) == 3, command.err
            assert_job_is_paused(site, command)
            line = command.command_to_go_on()
            if number != signal.SIGHUP:
                command = site.start(*shlex.split(line)[1:], "--yes")

        go_on(site, line)
        assert_all_installed(site, ACCOUNTS)
        assert len(site.jobs()) == len(result_files(tmp_path)) == 1
        assert len(site.installs()) == ACCOUNTS
        assert site.simulator.ledger.calls_of("look") == []
        assert_never_wrong(site)
        site.wait_until_nothing_runs()


def assert_job_is_paused(site: Site, command: Command) -> None:
    """What is in flight is settled, the command said so, and nothing runs any more."""
    [job] = site.jobs()
    assert (
        f"Job {job.id} is paused: the command was interrupted. {ACCOUNTS - job.installed} rows are left."
        in command.err
    )
    assert (job.state, job.pause_reason) == ("paused", "interrupted")
    assert_in_flight_is_settled_and_the_rest_given_back(site)
    site.wait_until_nothing_runs()
    [results] = result_files(site.folder)
    assert len(results.read_text(encoding="utf-8").splitlines()) == 1 + ACCOUNTS


def assert_in_flight_is_settled_and_the_rest_given_back(site: Site) -> None:
    called = {call.account_id for call in site.installs()}
    items = site.items()
    assert {item.account_id for item in items if item.state == "installed"} == called
    rest = [item for item in items if item.account_id not in called]
    assert 0 < len(rest) < ACCOUNTS
    assert {(item.state, item.claim_id, item.attempts, item.must_look) for item in rest} == {
        ("queued", None, 0, False)
    }


def go_on(site: Site, line: str) -> None:
    """Type what the command said, at a terminal, and agree to its question."""
    terminal = Terminal(line, env=site.environment(), folder=site.folder)
    terminal.read_until("[y/N]")
    terminal.type("y\n")
    assert terminal.wait() == 0, terminal.screen


def test_a_second_ctrl_c_does_not_wait_for_calls_in_flight(tmp_path):
    accounts = account_ids(40)
    with open_site(tmp_path, accounts) as site:
        site.change(lambda world: world.faults.add(silence(), call="install", account_id=accounts[0]))
        file = site.file(accounts)
        command = site.start("run", str(file), "--yes", CYCLR_TIMEOUT_S="60")
        site.wait_for_installs(len(accounts))
        command.send(signal.SIGINT)
        eventually(lambda: [job.state for job in site.jobs()] == ["paused"], "the job is paused")
        command.send(signal.SIGINT)
        assert command.wait(within_s=45) == 3
        assert "Stopped at once. What was in flight is looked for by the next run." in command.err
        assert "Traceback" not in command.err
        [job] = site.jobs()
        assert f"Job {job.id} is paused: the command was interrupted." in command.err
        site.wait_until_nothing_runs()
