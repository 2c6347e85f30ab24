"""What it takes to load the pages: files are kept by their version, answers are smaller, streams stay streams."""

import gzip
import re

import httpx
import pytest

from tests.integration.web.site import Site
from tests.integration.web.test_permissions import session_of, signed_in
from tests.integration.web.test_reading import submit

FOR_EVER = "public, max-age=31536000, immutable"


@pytest.fixture
def pages(site: Site) -> httpx.Client:
    return signed_in(site, session_of(site, site.key()))


def test_every_file_of_a_page_is_kept_for_ever_under_the_address_of_its_version(pages: httpx.Client):
    page = pages.get("/jobs").text + pages.get("/docs").text
    addresses = set(re.findall(r'"(/static/[^"]+)"', page))
    assert len(addresses) >= 7
    for address in addresses:
        assert re.search(r"\?v=[0-9a-f]{10}$", address), address
        answer = pages.get(address)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, FOR_EVER), address
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "address", ["/static/app.css", "/static/app.css?v=0123456789", "/static/app.css?w=1"]
)
def test_a_version_that_is_not_this_one_is_asked_for_again(pages: httpx.Client, address: str):
    assert pages.get(address).headers["cache-control"] == "no-cache"


def test_a_file_that_is_not_there_is_not_kept(pages: httpx.Client):
    answer = pages.get("/static/nothing.css?v=0123456789")
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-cache")


def test_there_is_an_icon_where_browsers_ask_for_it(pages: httpx.Client):
    icon = pages.get("/favicon.ico")
    assert (icon.status_code, icon.headers["cache-control"]) == (200, "public, max-age=86400")
    assert icon.content.startswith(b"\x00\x00\x01\x00\x03\x00")


def test_scripts_pages_and_results_come_compressed_and_a_part_of_a_file_as_it_is(
    site: Site, pages: httpx.Client
):
    client = site.client(site.key())
    job_id = submit(client, "acme", "globex", "initech", "umbrella")
    for address in ("/static/app.css", f"/jobs/{job_id}", f"/v1/jobs/{job_id}/results.csv"):
        with pages.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
            assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip"), address
            assert gzip.decompress(b"".join(answer.iter_raw()))
        plain = pages.get(address, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers, address
    part = pages.get("/static/app.css", headers={"Accept-Encoding": "gzip", "Range": "bytes=0-1999"})
    assert (part.status_code, part.headers.get("content-encoding"), len(part.content)) == (206, None, 2_000)


def test_events_are_neither_compressed_nor_kept_back(site: Site):
    client = site.client(site.key())
    job_id = submit(client, "acme")
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers={"Accept-Encoding": "gzip"}) as answer:
        assert "content-encoding" not in answer.headers
        heard = b""
        # Nobody works on the job: the stream goes on, and what it has said so far is here.
        for piece in answer.iter_raw():
            heard += piece
            if b"event: progress" in heard:
                break
    assert heard.startswith(b"retry: ")


def test_the_token_of_a_form_is_another_text_each_time_and_good_each_time(site: Site, pages: httpx.Client):
    found = [re.findall(r'name="form_token" value="([^"]+)"', pages.get("/jobs").text)[0] for _ in range(3)]
    assert len(set(found)) == 3
    access = site.app.state.access
    session = pages.cookies["cyclr_bulk_session"]
    assert all(access.is_form_token(token, session) for token in found)
    assert not access.is_form_token(found[0], session_of(site, site.key(name="somebody else")))
    for wrong in ("", "x", "é", found[0][:-4], found[0][4:], found[0].swapcase(), "A" * len(found[0])):
        assert not access.is_form_token(wrong, session), wrong
