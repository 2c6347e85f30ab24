"""Installs a second and CPU seconds for 1,000 of them: the product beside the bare limit and its rivals."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median

from tests.benchmarks import before
from tests.benchmarks.product import open_product
from tests.benchmarks.rival_environments import bin_folder
from tests.benchmarks.server import account_id
from tests.benchmarks.site import Site, cpu_s, dsn, execute, resident_mb, tree
from tests.benchmarks.sizes import sizes
from tests.end_to_end.processes.commands import ROOT, Command

STEADY_FROM, STEADY_TO = 0.1, 0.95  # of a run: what comes before and after is starting and ending
RIVALS = Path(__file__).parent / "rivals"
TABLE = (
    "DROP TABLE IF EXISTS rival",
    "CREATE TABLE rival (id bigint PRIMARY KEY, account text NOT NULL, api_key text NOT NULL,"
    " state text NOT NULL, remote_id bigint)",
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the steady part of one run, by the server's count. `costs`: for each install of the whole run, of the product only."""

    installs_per_second: float
    cpu_s_per_1000: float
    peak_mb: float
    costs: Mapping[str, float] = field(default_factory=dict)


def steady(site: Site, command: Command, count: int) -> Figures:
    """The figures of a command that installs `count` times, from now to its end."""
    site.wait_for_installs(int(count * STEADY_FROM), command)
    first, began, cpu_before = site.count(), time.monotonic(), cpu_s(tree(command.pid))
    peak_mb = 0.0
    while (done := site.count()) < count * STEADY_TO:
        assert command.exit_code is None, f"it ended early:\n{command.err[-2000:]}"
        peak_mb = max(peak_mb, resident_mb(tree(command.pid)))
        time.sleep(0.05)
    took_s, cpu = time.monotonic() - began, cpu_s(tree(command.pid)) - cpu_before
    return Figures((done - first) / took_s, cpu * 1_000 / (done - first), peak_mb)


def run_script(name: str, *words: str) -> Callable[[Site, int], Figures]:
    """A rival without a queue. `words`: what it is told beside the address and the number of installs."""

    def run(site: Site, count: int) -> Figures:
        site.stand_in("/reset")
        command = site.begin(name, [sys.executable, str(RIVALS / f"{name}.py"), site.url, str(count), *words])
        try:
            return steady(site, command, count)
        finally:
            site.end(command)

    return run


def run_queue(
    name: str, python: Callable[[], str], worker: Callable[[], list[str]]
) -> Callable[[Site, int], Figures]:
    """A rival with a message for each account: all are in the queue before its worker starts."""

    def run(site: Site, count: int) -> Figures:
        with _rival_database(site, count) as url:
            environment = {
                "BENCH_URL": site.url,
                "BENCH_DATABASE": dsn(url),
                "REDIS_URL": site.valkey.url,
                "PYTHONPATH": str(RIVALS),
            }
            site.stand_in("/reset")
            enqueue = site.begin(name, [python(), str(RIVALS / f"{name}.py"), str(count)], **environment)
            assert enqueue.wait(within_s=600) == 0, enqueue.err
            command = site.begin(name, worker(), **environment)
            try:
                return steady(site, command, count)
            finally:
                site.end(command)

    return run


@contextmanager
def _rival_database(site: Site, count: int) -> Iterator[str]:
    url = site.databases.new()
    rows = (
        "INSERT INTO rival SELECT n, 'acct-' || lpad(n::text, 7, '0'), 'key-of-' || n, 'queued'"
        f" FROM generate_series(1, {count}) n"
    )
    execute(url, *TABLE, rows)
    try:
        yield url
    finally:
        site.databases.drop(url)
        site.flush()


def run_product(site: Site, count: int, code: Path = ROOT, *, has_looks: bool = False) -> Figures:
    """One worker process, and the sweep; the job is loaded while they run. `code`: the checkout that they run."""
    options = () if has_looks or not _looks_by_itself(code) else ("--no-look",)
    with open_product(site, code) as product:
        site.stand_in(f"/reset?accounts={count}")
        assert account_id(0)
        began = before.costs(product)
        worker, sweep = product.launch_worker(1), product.launch("sweep")
        job_id = product.submit(count, *options)
        figures = steady(site, worker, count)
        product.wait_until_completed(job_id)
        for command in (worker, sweep):
            site.end(command)
        costs = {name: (now - began[name]) / count for name, now in before.costs(product).items()}
        return replace(figures, costs=costs)


def _looks_by_itself(code: Path) -> bool:
    """Whether this checkout looks into each account first unless it is told not to."""
    options = code / "worker" / "domain" / "options.py"  # which an earlier one may not have
    return options.exists() and "no_look" in options.read_text(encoding="utf-8")


def _celery(*pool: str) -> Callable[[Site, int], Figures]:
    words = ["celery", "-A", "celery_rival", "worker", "--loglevel", "ERROR", *pool]
    words += ["--without-gossip", "--without-mingle"]
    return run_queue("celery_rival", lambda: sys.executable, lambda: words)


TODAY, BEFORE = "product", "the commit before"
LOOKS, BARE_LOOKS = "product, with looks", "bare limit, with looks"

CONTENDERS: dict[str, Callable[[Site, int], Figures]] = {
    "bare limit": run_script("bare_limit"),
    "product": run_product,
    BARE_LOOKS: run_script("bare_limit", "looks"),
    LOOKS: partial(run_product, has_looks=True),
    "saq": run_queue(
        "saq_rival",
        lambda: str(bin_folder("saq") / "python"),
        lambda: [str(bin_folder("saq") / "saq"), "saq_rival.settings"],
    ),
    "arq": run_queue(
        "arq_rival",
        lambda: str(bin_folder("arq") / "python"),
        lambda: [str(bin_folder("arq") / "arq"), "arq_rival.WorkerSettings"],
    ),
    "Celery, prefork 16": _celery("--pool", "prefork", "--concurrency", "16"),
    "Celery, threads 100": _celery("--pool", "threads", "--concurrency", "100"),
    "httpx's default pool": run_script("default_pool"),
}
SLOW = frozenset({"Celery, prefork 16", "Celery, threads 100", "httpx's default pool"})


def measure(site: Site, only: tuple[str, ...] = ()) -> dict[str, list[Figures]]:
    """All contenders in turn, so many times: what disturbs the machine disturbs them all. The product, today's and that of the
    commit before, has some turns more.
    """
    contenders = dict(CONTENDERS)
    if code := before.check_out(site):
        contenders[BEFORE] = partial(run_product, code=code)
    found: dict[str, list[Figures]] = {}
    for number in range(max(sizes().runs, sizes().product_runs)):
        for name, run in contenders.items():
            turns = sizes().product_runs if name in (TODAY, BEFORE) else sizes().runs
            if number >= turns or (only and name not in only):
                continue
            figures = run(site, sizes().slow_rival_installs if name in SLOW else sizes().installs)
            found.setdefault(name, []).append(figures)
            print(f"run {number + 1}: {name}: {figures}", flush=True)
    return found


def medians(found: Mapping[str, Sequence[Figures]]) -> dict[str, Figures]:
    return {
        name: Figures(
            median(each.installs_per_second for each in runs),
            median(each.cpu_s_per_1000 for each in runs),
            median(each.peak_mb for each in runs),
            {cost: median(each.costs[cost] for each in runs) for cost in runs[0].costs},
        )
        for name, runs in found.items()
    }
