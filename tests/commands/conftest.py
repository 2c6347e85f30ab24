"""The desk that the files here work at."""

from tests.end_to_end.cli.fixtures import desk as desk
