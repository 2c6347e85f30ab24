"""The servers that more than one file here needs."""

from tests.end_to_end.fleet.fixtures import databases as databases
from tests.end_to_end.fleet.fixtures import fleet as fleet
from tests.end_to_end.fleet.fixtures import running as running
