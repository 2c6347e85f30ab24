"""The pages.

signing_in.py  a session, begun with an API key
jobs.py        the list
new_job.py     a file is dropped, checked, and started
checks.py      what a check says
job.py         a job, live, with its rows
rows.py        its rows as a table
failures.py    why rows failed: all reasons
steering.py    pause, resume, cancel, retry
item.py        one row, and what happened to it
looks.py       how a job stands, in numbers and words
words.py       what states, codes and attempts are called
rendering.py   templates become answers
"""

from fastapi import APIRouter

from worker.web.pages import failures, item, job, jobs, new_job, signing_in, steering

router = APIRouter(include_in_schema=False)
for part in (signing_in, jobs, new_job, job, failures, steering, item):
    router.include_router(part.router)
