"""The job of a file that is not done yet: what it is found by, and the options that it was begun with."""

import hashlib
import itertools
from dataclasses import dataclass

from worker.domain.options import IfPresent, JobOptions, RunOptions
from worker.store.jobs import JobStatus, find_unfinished_jobs
from worker.store.session import Engine


@dataclass(frozen=True, slots=True)
class Unfinished:
    """`options`: what it was begun with, as far as that makes the job."""

    job: JobStatus
    options: RunOptions

    def has_options(self, options: RunOptions) -> bool:
        return options.of_job() == self.options.of_job()


def fingerprint(content_hash: str, connector: str | None, instance_id: str) -> str:
    """What a job is found by: `run` goes on with an unfinished one of the same content, connector and instance."""
    return _hash(content_hash, connector or "", instance_id)


def earlier_fingerprint(
    content_hash: str, connector: str | None, options: JobOptions, instance_id: str
) -> str:
    """As the version before wrote it, which kept a job's options nowhere else."""
    skips = options.if_present is IfPresent.SKIP
    flags = (str(options.skip_invalid), str(options.look_first), str(skips))
    return _hash(content_hash, connector or "", *flags, instance_id)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def find_unfinished(
    engine: Engine, instance_id: str, content_hash: str, options: RunOptions
) -> Unfinished | None:
    """The running or paused job of the same content, connector and instance: the one begun with these options, if
    there is one, else the newest that was begun with others."""
    connector = options.connector
    of_an_earlier_job = {
        earlier_fingerprint(content_hash, connector, each, instance_id): each
        for each in itertools.starmap(JobOptions, itertools.product((False, True), (False, True), IfPresent))
    }
    sought = [fingerprint(content_hash, connector, instance_id), *of_an_earlier_job]
    found = [
        Unfinished(job, RunOptions(connector=connector, **(kept or of_an_earlier_job[key]).to_json()))
        for job, key, kept in find_unfinished_jobs(engine, instance_id, sought)
    ]
    return next((each for each in found if each.has_options(options)), found[0] if found else None)
