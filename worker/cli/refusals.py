"""Why a command about a job changes nothing, in words."""

from worker.domain.failures import ToldFailure
from worker.domain.states import JobState
from worker.store.jobs import JobStatus

WHAT_THEN = {
    JobState.LOADING: "Its rows are still being written: wait a moment.",
    JobState.RUNNING: "See how it goes with `cyclr-bulk watch {id}`, or stop it with `cyclr-bulk pause {id}`.",
    JobState.PAUSED: "It goes on with `cyclr-bulk resume {id}`, and ends with `cyclr-bulk cancel {id}`.",
    JobState.COMPLETED: "Nothing is left to do; `cyclr-bulk retry {id}` tries its failed rows again.",
    JobState.CANCELLED: "`cyclr-bulk retry {id}` tries its failed and cancelled rows again.",
}
STILL_ENDING = "`cyclr-bulk watch {id}` tells when it has ended."


class JobRefusal(ToldFailure):
    """A command about a job cannot be carried out; nothing was changed."""


class UnknownJob(JobRefusal):
    """There is no job of this id in the database that the command works on."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id} here. `cyclr-bulk jobs` lists those that are.")
        self.job_id = job_id


class UnknownReason(JobRefusal):
    """No row of the job failed for a reason with this key."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(
            f"No row of job {job_id} failed for a reason with the key {reason}."
            f" `cyclr-bulk failures {job_id}` lists those that are."
        )
        self.job_id = job_id
        self.reason = reason


class NotInThisState(JobRefusal):
    """The job is in a state in which this cannot be done. `deed`: as in "it cannot be paused"."""

    def __init__(self, job: JobStatus, deed: str) -> None:
        super().__init__(f"{job.cannot_be(deed)} {_hint(job)}")
        self.job = job


class OtherInstance(JobRefusal):
    """The job is of another Cyclr than the one of the settings, so no worker started with these would take it."""

    def __init__(self, job: JobStatus) -> None:
        super().__init__(
            f"Job {job.id} is of {job.api_host}, with the client id that it was begun with:"
            " set CYCLR_API_URL and CYCLR_CLIENT_ID to those."
        )
        self.job = job


def _hint(job: JobStatus) -> str:
    hint = STILL_ENDING if job.is_ending else WHAT_THEN[job.state]
    return hint.format(id=job.id)
