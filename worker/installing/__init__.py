"""What a worker does: claim, reserve, attempt, settle.

run.py       the install loop: claims -> slots -> attempts -> settlements; how much it takes in hand
attempt.py   one attempt at one item: the steps of its operation, one after the other
judging.py   the retry table: what a call's failure means
permits.py   each call's slot, and the last check of the claim before it is sent
groups.py    what goes to the database in groups: questions of attempts, and their verdicts
"""

from worker.installing.judging import Rules
from worker.installing.run import InstallRun

__all__ = ["InstallRun", "Rules"]
