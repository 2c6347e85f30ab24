"""The measures: each is run, and held against what it must reach."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median

from tests.benchmarks import before, counts, intake, large_job, limiter, long_run, results, speed, starting
from tests.benchmarks.site import Site
from tests.benchmarks.sizes import sizes
from tests.benchmarks.tables import Line, Report

QUEUES = ("saq", "arq", "Celery, prefork 16", "Celery, threads 100")


def _speed(site: Site) -> list[Report]:
    runs = speed.measure(site)
    compared = compare(runs[speed.TODAY], runs.pop(speed.BEFORE, []))
    found = speed.medians(runs)
    bare, ours = found["bare limit"], found["product"]
    fastest = max(found[name].installs_per_second for name in QUEUES)
    thriftiest = min(found[name].cpu_s_per_1000 for name in QUEUES)
    rate, cpu = ours.installs_per_second, ours.cpu_s_per_1000
    rows = [
        [
            name,
            f"{each.installs_per_second:,.0f}",
            f"{each.installs_per_second / bare.installs_per_second:.2f} x",
            f"{each.cpu_s_per_1000:.2f}",
            f"{each.cpu_s_per_1000 / bare.cpu_s_per_1000:.2f} x",
            f"{each.peak_mb:,.0f}",
        ]
        for name, each in found.items()
    ]
    lines = [
        _at_least("installs/s", rate / bare.installs_per_second, 0.75, "{:.2f} x the bare limit"),
        _at_least("installs/s", rate / fastest, 1.3, "{:.2f} x the best rival queue"),
        _at_most("CPU s / 1,000", cpu / bare.cpu_s_per_1000, 1.6, "{:.2f} x the bare limit"),
        _at_most("CPU s / 1,000", cpu / thriftiest, 0.7, "{:.2f} x the best rival queue"),
    ]
    looks, bare_looks = found[speed.LOOKS], found[speed.BARE_LOOKS]
    of_looks = looks.installs_per_second / bare_looks.installs_per_second
    cpu_of_looks = looks.cpu_s_per_1000 / bare_looks.cpu_s_per_1000
    lines += [
        _at_least("installs/s", of_looks, 0.75, "{:.2f} x the bare limit, each with looks"),
        _at_most("CPU s / 1,000", cpu_of_looks, 1.6, "{:.2f} x the bare limit, each with looks"),
    ]
    columns = (
        "contender",
        "installs/s",
        "of the bare limit",
        "CPU s / 1,000",
        "of the bare limit",
        "peak MB",
    )
    figures = {name: asdict(each) for name, each in found.items()}
    return [Report("speed", figures, columns, rows, lines), compared]


def compare(of_today: Sequence[speed.Figures], of_before: Sequence[speed.Figures]) -> Report:
    """The product beside that of the commit before, by their runs; nothing must be reached where git does not have that."""
    name = f"the commit before, {before.commit()}"
    columns = ("contender", "CPU s / 1,000", *(f"{each} an install" for each in before.NAMES))
    if not of_before:
        return Report("before", {}, columns, [[f"{name}: not in the history of this checkout"]], [])
    found = speed.medians({speed.TODAY: of_today, speed.BEFORE: of_before})
    today, then = found[speed.TODAY], found[speed.BEFORE]
    rows = [
        [who, f"{each.cpu_s_per_1000:.3f}", *(f"{each.costs[cost]:.3f}" for cost in before.NAMES)]
        for who, each in ((speed.TODAY, today), (name, then))
    ]
    lines = [_at_most("CPU", today.cpu_s_per_1000 / then.cpu_s_per_1000, 1.05, "{:.2f} x its CPU time")]
    for cost in before.NEVER_MORE:
        # These vary from run to run, with what happens by the second.
        most = max(each.costs[cost] for each in of_before)
        lines.append(_at_most(cost, today.costs[cost], most, f"{{:.3f}} {cost} an install"))
    return Report("before", {who: asdict(each) for who, each in found.items()}, columns, rows, lines)


def _counts(site: Site) -> list[Report]:
    found = counts.measure(site)
    rows, lines = [], []
    for load, got in found.items():
        figures, limits = asdict(got), counts.limits(load)
        rows.append([load.name, *(f"{figures[name]:.2f}" for name in figures)])
        lines += [
            _at_most(load.name, figures[name], most, f"{{:.2f}} {name} an install, {load.name}")
            for name, most in limits.items()
        ]
    columns = ("load", "tries an install", "items claimed", "updates of items", "commits", "transactions")
    return [Report("counts", {load.name: asdict(got) for load, got in found.items()}, columns, rows, lines)]


def _limiter(site: Site) -> list[Report]:
    asked = [(rate, processes) for rate in (50, 200, 500) for processes in (1, 2)]
    runs: dict[tuple[int, int], list[limiter.Held]] = {each: [] for each in asked}
    for _ in range(sizes().runs):
        for rate, processes in asked:
            held = limiter.held(site, rate=rate, processes=processes, for_s=sizes().limiter_s)
            print(f"{rate}/s, {processes} processes: {held}", flush=True)
            runs[rate, processes].append(held)
    shares = {each: median(held.share for held in found) for each, found in runs.items()}
    is_bounded = all(held.is_bounded for found in runs.values() for held in found)
    rows = [[f"{rate}", f"{processes}", f"{share:.2%}"] for (rate, processes), share in shares.items()]
    lowest, highest = min(shares.values()), max(shares.values())
    got = f"{lowest:.2%} to {highest:.2%}"
    lines = [
        Line("share of the rate", "98-100 %", got, lowest >= 0.98 and round(highest, 3) <= 1.0),
        Line("windows", "invariant 4 never broken", "held" if is_bounded else "broken", is_bounded),
    ]
    figures = {f"{rate}/s, {processes} processes": share for (rate, processes), share in shares.items()}
    return [Report("limiter", figures, ("calls/s", "worker processes", "share of the rate"), rows, lines)]


def _slow(site: Site) -> list[Report]:
    found = []
    for _ in range(sizes().runs):
        held = limiter.held(site, rate=100, processes=1, for_s=sizes().slow_s, latency_s=1.0)
        print(held, flush=True)
        found.append(held)
    share, is_bounded = median(held.share for held in found), all(held.is_bounded for held in found)
    lines = [Line("share of the rate", "rate held", f"{share:.2%}", share >= 0.98 and is_bounded)]
    rows = [["100", "1 s", "1", f"{share:.2%}"]]
    return [Report("slow", share, ("calls/s", "latency", "processes", "share of the rate"), rows, lines)]


def _intake(site: Site) -> list[Report]:
    found = intake.measure(site)
    bare = found["bare"].took_s
    rows = [
        [
            name,
            f"{each.took_s:.1f}",
            f"{each.took_s / bare:.1f} x",
            f"{each.cpu_s:.1f}",
            f"{each.peak_mb:,.0f}",
        ]
        for name, each in found.items()
    ]
    lines = [
        _at_most("PostgreSQL", found["postgresql"].took_s / bare, 6, "{:.1f} x csv.reader + COPY"),
        _at_most("SQLite", found["sqlite"].took_s / bare, 12, "{:.1f} x csv.reader + COPY"),
        _at_most("memory", found["postgresql"].peak_mb, 300, "{:.0f} MB"),
    ]
    columns = (
        f"{sizes().intake_rows:,} rows into",
        "s",
        "of the bare COPY",
        "CPU s of the process",
        "peak MB",
    )
    return [Report("intake", {name: asdict(each) for name, each in found.items()}, columns, rows, lines)]


def _large_job(site: Site) -> list[Report]:
    found = large_job.measure(site)
    small, large = found["small"], found["large"]
    rows = [
        [name, f"{small[name] * 1000:.2f}", f"{large[name] * 1000:.2f}", f"{large[name] / small[name]:.2f} x"]
        for name in small
    ]
    lines = [
        _at_most(name, large[name] / small[name], 1.5, f"{name}: {{:.2f}} x its cost in the small job")
        for name in small
    ]
    columns = ("operation", f"ms at {sizes().small_job:,}", f"ms at {sizes().large_job:,}", "ratio")
    return [Report("large-job", found, columns, rows, lines)]


def _long_run(site: Site) -> list[Report]:
    found = long_run.measure(site)
    rows = [
        [
            f"{found.installs:,}",
            f"{found.early_mb:.1f}",
            f"{found.late_mb:.1f}",
            f"{found.growth:+.1%}",
            f"{found.messages}",
        ]
    ]
    lines = [
        _at_most("memory", found.growth * 100, 10, "{:.1f} % growth after the warm-up"),
        _at_most("messages", found.messages, 2, "{:.0f} messages in the broker"),
    ]
    columns = ("installs", "MB after the warm-up", "MB at the end", "growth", "most messages")
    return [Report("long-run", asdict(found), columns, rows, lines)]


def _results(site: Site) -> list[Report]:
    found = results.measure(site)
    rows = [[f"{found.rows:,}", f"{found.took_s:.1f}", f"{found.idle_mb:.0f}", f"{found.peak_mb:.0f}"]]
    lines = [_at_most("memory", found.above_idle_mb, 100, "{:.0f} MB above idle")]
    return [Report("results", asdict(found), ("rows", "s", "idle MB", "peak MB"), rows, lines)]


def _starting(site: Site) -> list[Report]:
    found = starting.measure(site)
    rows = [
        ["`--help`", f"{found['help']:.2f}"],
        ["`cyclr-bulk demo`, to its first install", f"{found['demo']:.2f}"],
    ]
    lines = [
        _at_most("help", found["help"], 0.5, "{:.2f} s for help"),
        _at_most("demo", found["demo"], 4, "{:.2f} s to the demo's first install"),
    ]
    return [Report("starting", found, ("command", "s"), rows, lines)]


def _at_least(measure: str, got: float, least: float, words: str) -> Line:
    return Line(measure, f"at least {words.format(least)}", words.format(got), got >= least)


def _at_most(measure: str, got: float, most: float, words: str) -> Line:
    return Line(measure, f"at most {words.format(most)}", words.format(got), got <= most)


MEASURES: dict[str, Callable[[Site], list[Report]]] = {
    "speed": _speed,
    "counts": _counts,
    "limiter": _limiter,
    "slow": _slow,
    "intake": _intake,
    "large-job": _large_job,
    "long-run": _long_run,
    "results": _results,
    "starting": _starting,
}
