"""The authorisation desk.

customer.py   the page that a customer comes to with a link
words.py      what it says
staff.py      the desk of a job, for those who look after an onboarding
api.py        the same for programs
offering.py   what they need of their place
asking.py     beside the requests: who has authorised?
"""

from fastapi import APIRouter

from worker.web.desk import api, customer, staff

router = APIRouter()
for part in (customer, staff, api):
    router.include_router(part.router)
