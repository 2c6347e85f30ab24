"""Which names of a request are told to whoever sent it."""

import pytest

from worker.web.api.steering import Resume, Retry
from worker.web.api.submitting import Asked, NewJobForm, NewJobItems, NewJobOptions
from worker.web.desk.api import LinksWanted
from worker.web.faults import REQUEST_NAMES, UNKNOWN, known_name
from worker.web.files import attachment


def test_all_names_of_requests_are_known():
    models = (Asked, NewJobItems, NewJobForm, NewJobOptions, Resume, Retry, LinksWanted)
    assert {name for model in models for name in model.model_fields} == REQUEST_NAMES


@pytest.mark.parametrize(
    "name", ["api_key", "Api-Kee", "property.Region", "x_crm", "look_agian", "look_first", "items", "_state"]
)
def test_what_is_known_or_resembles_it_is_told(name: str):
    assert known_name(name) == name


@pytest.mark.parametrize(
    "name", ["sk_live_4eC39HqLyjWDarjtT1zdp7dc", "hunter2", "shoe size", "", "a" * 5_000, "cbk_abc_def", "\0"]
)
def test_anything_else_may_be_a_secret_that_was_pasted(name: str):
    assert known_name(name) == UNKNOWN


def test_a_downloads_name_begins_no_header_of_its_own():
    assert attachment('a"\r\nSet-Cookie: b=c.csv') == {
        "Content-Disposition": 'attachment; filename="a___Set-Cookie_ b=c.csv"'
    }
