"""The wheel, installed into an empty environment away from the checkout, runs the demo."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tests.started import run_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "worker", "migrations")
OURS = ("CYCLR_", "DATABASE_URL", "REDIS_URL", "PYTHON", "VIRTUAL_ENV")


def environment() -> dict[str, str]:
    """Nothing that could lead back to the checkout or its environment."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


def run(*argv: object, folder: Path, env: Mapping[str, str] | None = None) -> str:
    """What it wrote to stdout."""
    words = [str(word) for word in argv]
    ended = run_process(
        words, cwd=folder, env=env or environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert ended.returncode == 0, (
        f"{' '.join(words)}: exit code {ended.returncode}\n{ended.stdout}{ended.stderr}"
    )
    return ended.stdout


def build(folder: Path) -> Path:
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            copytree(ROOT / part, source / part, ignore=ignore_patterns("__pycache__"))
        elif (ROOT / part).exists():
            (source / part).write_bytes((ROOT / part).read_bytes())
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist", folder=source)
    [wheel] = (folder / "dist").glob("*.whl")
    return wheel


def test_the_wheel_carries_all_that_the_demo_needs(tmp_path):
    wheel = build(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"worker", "cyclr_bulk"}
    assert "worker/migrations/env.py" in names
    assert [name for name in names if name.startswith("worker/migrations/versions/2")] != []
    assert "worker/cyclr/limiter.lua" in names
    for page_part in ("templates/base.html", "static/app.css", "static/docs.js"):
        assert f"worker/web/{page_part}" in names
    vendored = {name.split("/")[4] for name in names if name.startswith("worker/web/static/vendor/")}
    assert {"htmx", "uplot", "swagger-ui"} <= vendored

    uv, empty = Path(sys.executable).with_name("uv"), tmp_path / "empty"
    python = empty / "bin" / "python"
    run(uv, "venv", "--quiet", "--python", sys.executable, empty, folder=tmp_path)
    install = (uv, "pip", "install", "--quiet", "--python", python)
    run(*install, "--require-hashes", "-r", ROOT / "requirements" / "runtime.txt", folder=tmp_path)
    run(*install, "--no-deps", "--no-index", wheel, folder=tmp_path)

    away = tmp_path / "away"
    away.mkdir()
    command = empty / "bin" / "cyclr-bulk"
    imported_from = run(python, "-c", "import worker; print(worker.__file__)", folder=away)
    assert Path(imported_from.strip()).is_relative_to(empty)
    assert "Usage: cyclr-bulk [OPTIONS] COMMAND" in run(command, "--help", folder=away)
    shown = run(command, "demo", "--accounts", "20", folder=away, env=environment() | {"TMPDIR": str(away)})
    assert "A demo: 20 made-up accounts" in shown
    assert "Results, one line for every row:" in shown
    [results] = away.glob("cyclr-bulk-demo-*/accounts.results.csv")
    assert len(results.read_text(encoding="utf-8").splitlines()) == 21
