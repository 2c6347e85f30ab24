"""The authorisation desk.

customer.py   the page that a customer comes to with a link, and what it says
staff.py      the desk of a job, for those who look after an onboarding
api.py        the same for programs
links.py      what all of them have in common
"""

from fastapi import APIRouter

from worker.web.desk import api, customer, staff

router = APIRouter()
for part in (customer, staff, api):
    router.include_router(part.router)
