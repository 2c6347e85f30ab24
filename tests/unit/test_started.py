"""Processes that tests start die with the tests, since one place starts them all."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
STARTS = re.compile(
    r"subprocess\.(Popen|run|call|check_call|check_output)\(|os\.(fork|system|posix_spawn\w*|spawn\w+|popen)\("
    r"|create_subprocess_|import multiprocessing|ProcessPoolExecutor|preexec_fn"
)
HERE = Path(__file__)


def test_one_place_starts_the_processes_of_the_tests() -> None:
    others = {path for path in TESTS.rglob("*.py") if path not in (HERE, TESTS / "started.py")}
    starting = {str(path.relative_to(TESTS)) for path in others if STARTS.search(path.read_text("utf-8"))}
    assert starting == set()
