"""The job of this very file that is not done yet."""

import itertools
from dataclasses import dataclass, replace

from worker.jobs.options import RunOptions, fingerprint
from worker.store.jobs import JobStatus, find_unfinished_job
from worker.store.session import Engine


@dataclass(frozen=True, slots=True)
class Unfinished:
    """`options`: what it was begun with, as far as that makes the job."""

    job: JobStatus
    options: RunOptions

    def has_options(self, options: RunOptions) -> bool:
        return options.identity == self.options


def find_unfinished(
    engine: Engine, instance_id: str, content_hash: str, options: RunOptions
) -> Unfinished | None:
    """The running or paused job of the same content, connector and instance: the one begun with these options, if
    there is one, else one begun with others."""
    # The options at hand come first, then all that differ from them.
    for flips in itertools.product((False, True), repeat=3):
        begun_with = replace(
            options.identity,
            skip_invalid=options.skip_invalid != flips[0],
            look_first=options.look_first != flips[1],
            skip_if_present=options.skip_if_present != flips[2],
        )
        job = find_unfinished_job(engine, instance_id, fingerprint(content_hash, begun_with, instance_id))
        if job is not None:
            return Unfinished(job, begun_with)
    return None
