"""The result file of a large job: is it streamed?"""

import json
import sys
from dataclasses import dataclass

from sqlalchemy import text

from tests.benchmarks.large_job import make_job
from tests.benchmarks.site import Site
from tests.benchmarks.sizes import sizes


@dataclass(frozen=True, slots=True)
class Export:
    rows: int
    took_s: float
    idle_mb: float
    peak_mb: float

    @property
    def above_idle_mb(self) -> float:
        return self.peak_mb - self.idle_mb


def measure(site: Site) -> Export:
    """The export of the run that used most memory."""
    job = make_job(site, sizes().result_rows)
    exports = []
    url = job.engine.url.render_as_string(hide_password=False)
    with job.engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(
            text("UPDATE items SET state = 'installed', sealed = NULL, account_connector_id = id")
        )
    job.engine.dispose()
    for _ in range(sizes().runs):
        out = site.folder / "results.csv"
        words = [sys.executable, "-m", "tests.benchmarks.results_run", url, job.id, str(out)]
        command = site.begin("results", words)
        assert command.wait(within_s=3_600) == 0, command.err
        exports.append(Export(**json.loads(command.out)))
        with out.open(encoding="utf-8") as lines:
            assert sum(1 for _ in lines) == sizes().result_rows + 1
        out.unlink()
    return max(exports, key=lambda export: export.above_idle_mb)
