"""What may be asked of a job: pause, resume, cancel, retry."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from worker.domain.reasons import KEY_PATTERN
from worker.domain.states import Code, PauseReason
from worker.jobs.views import Job
from worker.store.job_states import cancel_job, pause_job, resume_job
from worker.store.steering import WrongState, retry_job
from worker.web.api.parameters import JobId, require_job, require_own_job, show_job, wrong_state
from worker.web.guards import GivenPlace, Writer
from worker.web.http_errors import error_answers
from worker.web.json_bodies import JsonRoute

ANSWERS = error_answers(403, 404, 409)
MOST_ROWS = 2_147_483_647

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"], route_class=JsonRoute)


class Resume(BaseModel):
    """`first`: of the rows that are held back, let so many go; none given: all."""

    model_config = ConfigDict(extra="forbid")
    first: Annotated[int, Field(ge=1, le=MOST_ROWS)] | None = None


class Retry(BaseModel):
    """`codes`, `reason`: only failed rows with one of these codes, of this reason; none given: all failed and cancelled ones."""

    model_config = ConfigDict(extra="forbid")
    codes: list[Code] = Field(default_factory=list, max_length=100)
    reason: str | None = Field(None, pattern=KEY_PATTERN, examples=["3f9a0c12"])


class RetryDone(BaseModel):
    """What a retry did. `wiped`: left out, their credentials are no longer kept; `live`: another job has their target."""

    queued: int
    wiped: int
    live: int
    job: Job


@router.post("/pause", operation_id="pauseJob", summary="Let a job rest", responses=ANSWERS)
def pause(job_id: JobId, caller: Writer, place: GivenPlace) -> Job:
    """Calls in flight are waited for; within 2 s no new one starts."""
    require_job(place, job_id)
    if not pause_job(place.database.engine, job_id, PauseReason.PERSON):
        raise wrong_state(place, job_id, "paused")
    return show_job(place, require_job(place, job_id))


@router.post("/resume", operation_id="resumeJob", summary="Let a paused job go on", responses=ANSWERS)
def resume(job_id: JobId, caller: Writer, place: GivenPlace, wanted: Resume | None = None) -> Job:
    """Connectors are looked up again first."""
    require_own_job(place, job_id)
    with place.watch(job_id):
        if not resume_job(place.database.engine, job_id, first=wanted.first if wanted else None):
            raise wrong_state(place, job_id, "resumed")
    place.ring()
    return show_job(place, require_job(place, job_id))


@router.post("/cancel", operation_id="cancelJob", summary="End a job for good", responses=ANSWERS)
def cancel(job_id: JobId, caller: Writer, place: GivenPlace) -> Job:
    """Rows that were not sent are cancelled, those in flight are settled. What is done stays in Cyclr."""
    require_job(place, job_id)
    if not cancel_job(place.database.engine, job_id):
        raise wrong_state(place, job_id, "cancelled")
    return show_job(place, require_job(place, job_id))


@router.post(
    "/retry", operation_id="retryJob", summary="Try failed and cancelled rows again", responses=ANSWERS
)
def retry(job_id: JobId, caller: Writer, place: GivenPlace, wanted: Retry | None = None) -> RetryDone:
    """Each begins anew, with a look into its account first."""
    require_own_job(place, job_id)
    asked = wanted or Retry()
    try:
        with place.watch(job_id):
            retried = retry_job(place.database.engine, job_id, codes=asked.codes, reason=asked.reason)
    except WrongState:
        raise wrong_state(place, job_id, "retried") from None
    place.ring()
    job = show_job(place, require_job(place, job_id))
    return RetryDone(queued=retried.queued, wiped=retried.wiped, live=retried.live, job=job)
