"""`python -m tests.benchmarks [MEASURE ...]`: all of them, or those named. `QUICK=1`: small, and nothing is written.

`BEFORE=commit`: what `speed` runs the product beside.
"""

import sys
import time

from tests.benchmarks.reports import MEASURES
from tests.benchmarks.site import open_site
from tests.benchmarks.sizes import WHOLE, sizes
from tests.benchmarks.tables import machine, write


def main(names: list[str]) -> int:
    """0 where every line is reached, 1 where one is missed."""
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        print(
            f"no such measure: {', '.join(unknown)}; expected some of {', '.join(MEASURES)}", file=sys.stderr
        )
        return 2
    has_missed = False
    for name in names or MEASURES:
        measured_on, began = machine(), time.monotonic()
        with open_site() as site:
            reports = MEASURES[name](site)
        print(f"\n## {name} ({time.monotonic() - began:.0f} s)", flush=True)
        for report in reports:
            print(f"\n{report.table()}\n", flush=True)
            if sizes() == WHOLE and report.lines:
                write(report, measured_on)
            has_missed = has_missed or not all(line.has_passed for line in report.lines)
    return int(has_missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
