"""What an install costs the database under each load, beside what it may cost."""

import tempfile
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.site import Site
from tests.benchmarks.sizes import sizes
from tests.counts import LOADS, LONG, VERY_FAR, Counts, Load, counted

# A look costs an update: its claim is prolonged before the install.
MOST_CLAIMS, MOST_UPDATES, MOST_UPDATES_WITH_LOOKS, MOST_COMMITS = 1.05, 2.3, 3.3, 0.2


def limits(load: Load) -> dict[str, float]:
    """Count -> the most that it may be. A short job's commits are those of its beginning and end."""
    updates = MOST_UPDATES_WITH_LOOKS if load.has_looks else MOST_UPDATES
    return {"claims": MOST_CLAIMS, "updates": updates} | (
        {"commits": MOST_COMMITS} if load.rows >= LONG else {}
    )


def measure(site: Site) -> dict[Load, Counts]:
    found = {}
    for load in (*LOADS, VERY_FAR):
        small = replace(load, rows=min(load.rows, sizes().counted_rows))
        with tempfile.TemporaryDirectory(dir=site.folder) as folder:
            found[small] = counted(site.databases, Path(folder), small)
        print(f"{load.name}: {found[small]}", flush=True)
    return found
