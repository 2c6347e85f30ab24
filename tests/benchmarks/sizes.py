"""How much is measured: whole sizes, or small ones (`QUICK=1`) that only show that everything runs."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """`runs`: of each contender, alternating; the median counts. `product_runs`: of the product, today's and before.

    `.._installs`: in one run. `counted_rows`: at most, for each load.
    """

    runs: int
    product_runs: int
    installs: int
    counted_rows: int
    slow_rival_installs: int
    limiter_s: float
    slow_s: float
    intake_rows: int
    small_job: int
    large_job: int
    job_repeats: int
    long_run_installs: int
    result_rows: int
    starts: int


WHOLE = Sizes(
    runs=3,
    product_runs=5,
    installs=20_000,
    counted_rows=2_000,
    slow_rival_installs=6_000,
    limiter_s=20.0,
    slow_s=30.0,
    intake_rows=1_000_000,
    small_job=10_000,
    large_job=1_000_000,
    job_repeats=40,
    long_run_installs=200_000,
    result_rows=1_000_000,
    starts=5,
)
QUICK = Sizes(
    runs=1,
    product_runs=1,
    installs=3_000,
    counted_rows=200,
    slow_rival_installs=1_500,
    limiter_s=6.0,
    slow_s=8.0,
    intake_rows=20_000,
    small_job=2_000,
    large_job=20_000,
    job_repeats=10,
    long_run_installs=10_000,
    result_rows=20_000,
    starts=1,
)


def sizes() -> Sizes:
    return QUICK if os.environ.get("QUICK") else WHOLE
