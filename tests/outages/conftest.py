"""One deployment that runs for the whole module: each test brings accounts and jobs of its own."""

from tests.end_to_end.fleet.fixtures import databases as databases
from tests.end_to_end.fleet.fixtures import fleet as fleet
from tests.end_to_end.fleet.fixtures import running as running
