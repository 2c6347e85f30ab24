from tests.unit.cli.making import job
from worker.domain.options import JobOptions, RunOptions
from worker.jobs.loading import Unfinished

ASKED = RunOptions(connector="Desk", no_look=True)
AS_WRITTEN = RunOptions(connector="Desk", no_look=True, first=5, as_written=frozenset({"account_id"}))


def test_what_is_judged_before_a_load_is_no_part_of_a_jobs_identity() -> None:
    assert AS_WRITTEN.of_job() == ASKED.of_job() == JobOptions(no_look=True)


def test_an_unfinished_job_goes_on_whatever_is_taken_as_written_now() -> None:
    begun = Unfinished(job(), ASKED)
    assert begun.has_options(AS_WRITTEN)
    assert not begun.has_options(RunOptions(connector="Desk", as_written=frozenset({"account_id"})))


def test_a_job_that_does_another_thing_is_another_job() -> None:
    begun = Unfinished(job(), ASKED)
    assert not begun.has_options(RunOptions(connector="Desk", no_look=True, operation="update"))


def test_a_job_of_the_version_before_goes_on_whatever_is_asked_of_a_run_now() -> None:
    older = JobOptions.older(skip_invalid=False, look_first=False, skips=True)
    begun = Unfinished(job(), RunOptions.of(older, connector="Desk", operation="install"))
    assert begun.options == RunOptions(connector="Desk", no_look=False, beside=False, is_older=True)
    assert begun.has_options(RunOptions(connector="Desk", overwrite=True))
    assert not begun.has_options(RunOptions(connector="Desk", operation="update"))


def test_options_of_the_version_before_are_told_by_what_they_lack() -> None:
    kept = {"skip_invalid": True, "look_first": True, "if_present": "install"}
    meant = JobOptions.from_json(kept)
    assert (meant.skip_invalid, meant.no_look, meant.beside, meant.is_older) == (True, False, True, True)
    ours = JobOptions(overwrite=True, no_undo=True)
    assert JobOptions.from_json(ours.to_json()) == ours
    assert JobOptions.from_json(ours.to_json() | {"of_a_later_version": 7}) == ours
