from tests.unit.cli.making import job
from worker.domain.options import JobOptions, RunOptions
from worker.jobs.loading import Unfinished

ASKED = RunOptions(connector="Desk", look_first=True)
AS_WRITTEN = RunOptions(connector="Desk", look_first=True, first=5, as_written=frozenset({"account_id"}))


def test_what_is_judged_before_a_load_is_no_part_of_a_jobs_identity() -> None:
    assert AS_WRITTEN.of_job() == ASKED.of_job() == JobOptions(look_first=True)


def test_an_unfinished_job_goes_on_whatever_is_taken_as_written_now() -> None:
    begun = Unfinished(job(), ASKED)
    assert begun.has_options(AS_WRITTEN)
    assert not begun.has_options(RunOptions(connector="Desk", as_written=frozenset({"account_id"})))
