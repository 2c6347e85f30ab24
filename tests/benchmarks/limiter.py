"""What share of its rate the limiter gives, by the server's ledger, and whether a window ever holds more calls."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.product import Product, open_product
from tests.benchmarks.site import Site

BURST = 10  # the default
LEAD_IN_S = 3.0  # until the steady part begins
LEFT_S = 5.0  # of work when it ends: what was given back comes last, and late


@dataclass(frozen=True, slots=True)
class Held:
    """`share`: of the rate, over the steady part. `is_bounded`: invariant 4 held for every window of the run."""

    share: float
    is_bounded: bool


def is_bounded(times: Sequence[float], rate: float, burst: int) -> bool:
    """Whether every window holds at most burst + rate x (window + 0.5 s) calls."""
    least = float("inf")
    for number, at in enumerate(times):
        least = min(least, number - rate * at)
        if number + 1 - rate * at - least > burst + rate * 0.5:
            return False
    return True


def share_of(times: Sequence[float], rate: float, for_s: float) -> float:
    begin = times[0] + LEAD_IN_S
    return sum(begin <= at < begin + for_s for at in times) / for_s / rate


def held(
    site: Site, *, rate: float, processes: int, for_s: float, latency_s: float = 0.05, **settings: str
) -> Held:
    """One run of so many seconds at this rate, all other settings as they come."""
    with open_product(site, CYCLR_CALLS_PER_SECOND=str(rate), **settings) as product:
        rows = int(rate * (LEAD_IN_S + for_s + LEFT_S))
        site.stand_in(f"/reset?accounts={rows}")
        job_id = _submit_fast(product, rows)
        site.stand_in(f"/reset?accounts={rows}&latency_s={latency_s}")
        product.launch("sweep")
        worker = product.launch_worker(processes)
        site.wait_for_installs(rows, worker)
        time.sleep(latency_s)
        product.wait_until_completed(job_id)
        times = sorted(site.stand_in("/ledger"))
    return Held(share_of(times, rate, for_s), is_bounded(times, rate, BURST))


def _submit_fast(product: Product, rows: int) -> str:
    """The submission's own calls need not wait for a low rate; the limiter's book is forgotten before the run."""
    rate, product.settings["CYCLR_CALLS_PER_SECOND"] = product.settings["CYCLR_CALLS_PER_SECOND"], "5000"
    job_id = product.submit(rows)
    product.settings["CYCLR_CALLS_PER_SECOND"] = rate
    product.site.flush()
    return job_id
