"""A rate that another process has set, wherever the web server shows one."""

import asyncio

from tests.integration.web.site import Site
from tests.integration.web.test_permissions import session_of, signed_in
from tests.integration.web.test_reading import figures, submit
from tests.integration.web.test_submitting import post_csv
from worker.bootstrap.installer import make_limiter
from worker.clock import Clock

WHOSE = "(set by another process that shares the limit; this one has 1000)"


def announce(site: Site, calls_per_second: float) -> None:
    async def work() -> None:
        settings = site.place.settings.model_copy(update={"cyclr_calls_per_second": calls_per_second})
        limiter = make_limiter(settings, site.engine, clock=Clock(), broker=site.place.broker)
        await limiter.announce()
        await limiter.aclose()

    asyncio.run(work())


def test_pages_and_figures_say_which_rate_is_in_force_and_whose_it_is(site: Site):
    key = site.key()
    client, page = site.client(key), signed_in(site, session_of(site, key))
    job_id = submit(client, "acme", "globex")
    announce(site, 100)
    assert figures(client)["cyclr_bulk_limiter_configured_calls_per_second"] == 100
    assert f"at most, for all jobs together {WHOSE}" in page.get(f"/jobs/{job_id}").text
    assert client.post(f"/v1/jobs/{job_id}/pause").status_code == 200
    assert f"at 100 calls/s {WHOSE}, if one call is enough" in page.get(f"/jobs/{job_id}/resume").text


def test_a_dry_run_estimates_by_the_rate_in_force(site: Site):
    client = site.client(site.key())
    announce(site, 4)
    estimate = post_csv(client, params={"validate_only": "true"}).json()["estimate"]
    assert estimate["seconds"] == estimate["calls"] / 4 > 0
