"""What a person asks for.

checking.py   a file, held against the catalogue, the accounts and our own past; nothing is changed
loading.py    the checked file becomes a job
unfinished.py the job of this very file that is not done yet
results.py    what came of every line, as a file
"""

from worker.jobs.checking import Checked, DatabaseMemory, Estimate, Rejected, check_file, check_offline
from worker.jobs.loading import load_job
from worker.jobs.options import RunOptions, fingerprint
from worker.jobs.results import iter_result_file, write_result_file
from worker.jobs.unfinished import Unfinished, find_unfinished

__all__ = [
    "Checked",
    "DatabaseMemory",
    "Estimate",
    "Rejected",
    "RunOptions",
    "Unfinished",
    "check_file",
    "check_offline",
    "find_unfinished",
    "fingerprint",
    "iter_result_file",
    "load_job",
    "write_result_file",
]
