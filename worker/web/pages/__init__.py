"""The pages.

signing_in.py  a session, begun with an API key
new_job.py     a file is dropped, checked, and started
checks.py      what a check says
jobs.py        the list; a job, live, and why rows of it failed
progress.py    how a job stands, in numbers and words
rows.py        its rows as a table
accounts.py    which accounts rows were for; every row of one of them, over all jobs
item.py        one row, and what happened to it
steering.py    pause, resume, cancel, retry
rendering.py   templates become answers; what a page says once; the page of an error
"""

from fastapi import APIRouter

from worker.web.pages import accounts, item, jobs, new_job, signing_in, steering

router = APIRouter(include_in_schema=False)
for part in (signing_in, new_job, jobs, steering, item, accounts):
    router.include_router(part.router)
