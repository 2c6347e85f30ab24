"""What a person may ask of a run beside the file, and the job of that file that is not done yet."""

import hashlib
import itertools
from dataclasses import dataclass, field

from worker.domain.options import IfPresent, JobOptions, option
from worker.store.jobs import JobStatus, find_unfinished_jobs
from worker.store.session import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(JobOptions):
    """All that may be asked of a run. `is_list`: the file was made here of a list of values.

    But for the connector these are no part of a job's identity: once it is loaded, rows go on in any number, and nothing is
    judged any more.
    """

    connector: str | None = field(
        default=None, metadata=option("Name or id of the connector, for all rows.", "NAME")
    )
    first: int | None = field(default=None, metadata=option("Install so many rows, then pause.", "N"))
    as_written: frozenset[str] = field(
        default=frozenset(),
        metadata=option(
            "Columns whose values are taken as they stand, though a spreadsheet may have made them: account_id or"
            " connector_version; may be given several times.",
            "COLUMN",
        ),
    )
    is_list: bool = False


# The fields that a person may give, in the order in which they are told.
OPTIONS = {
    name: RunOptions.__dataclass_fields__[name]
    for name in ("connector", "first", "skip_invalid", "look_first", "if_present", "as_written")
}


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
