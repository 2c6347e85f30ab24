"""The authorisation desk.

customer.py   the page that a customer comes to with a link
words.py      what it says
api.py        the links of a job, for programs
offering.py   what both need of their place
asking.py     beside the requests: who has authorised?
"""

from fastapi import APIRouter

from worker.web.desk import api, customer

router = APIRouter()
router.include_router(customer.router)
router.include_router(api.router)
