"""Asks, for all that is pinned, whether its authors have withdrawn it and whether a fault of it is known that a newer version mends.

uv asks the package index that it is set up for, pip-audit its database of known faults; neither installs anything. What could
not be asked is said and is no pass. `--if-reached`: then it is no failure either, for CI, which must not depend on a network.

Exit codes: 0 nothing was found; 1 something that is pinned must be replaced; 3 not everything could be asked.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.started import run_process
from worker.domain.words import counted

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
FOUND, UNASKED = 1, 3
PLATFORMS = ("linux", "windows")  # what is pinned for one of them only is asked as well
DEADLINE_S = 300
UV_LIMITS = {"UV_HTTP_TIMEOUT": "30", "UV_HTTP_RETRIES": "2"}

PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)
WITHDRAWN = re.compile(
    r"^warning: `(?P<pin>\S+)` is yanked(?: \(reason: \"(?P<reason>.*)\"\))?", re.MULTILINE
)
NOT_THERE = re.compile(r"(?P<reason>there is no version of (?P<pin>\S+)|(?P<name>\S+) was not found in )")


@dataclass
class Findings:
    """`bad`: what must be replaced; `told`: what is known and cannot be mended; `unasked`: what nobody could be asked. In words."""

    bad: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    unasked: set[str] = field(default_factory=set)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.audit")
    parser.add_argument("files", nargs="*", type=Path, default=sorted((ROOT / "requirements").glob("*.txt")))
    parser.add_argument("--if-reached", action="store_true", help="what cannot be asked is no failure")
    parser.add_argument(
        "--osv-url", help="ask this OSV service for known faults, not the package index's own"
    )
    given = parser.parse_args()
    pins = {
        f"{name}=={version}" for file in given.files for name, version in PINNED.findall(file.read_text())
    }
    if not pins:
        say("nothing is pinned in the files that were given")
        return FOUND
    say(f"{counted(len(pins), 'pin')} of {', '.join(file.name for file in given.files)}")
    found = Findings()
    for file in given.files:
        ask_index(file, found)
    ask_for_faults(given.files, found, given.osv_url)
    for words in (*sorted(found.told), *sorted(found.unasked), *sorted(found.bad)):
        say(words)
    if found.bad:
        say("Replace these: `make lock` takes newer versions.")
        return FOUND
    if found.unasked:
        say("NOT ALL OF IT WAS ASKED, so this is no pass.")
        return 0 if given.if_reached else UNASKED
    say("None is withdrawn, and no fault is known that a newer version mends.")
    return 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def ask_index(file: Path, found: Findings) -> None:
    """Whether the index still has each pin, with its hashes, and whether it is withdrawn."""
    for platform in PLATFORMS:
        with tempfile.TemporaryDirectory() as empty:
            words = [
                "pip",
                "install",
                "--dry-run",
                "--no-deps",
                "--require-hashes",
                "--refresh",
                "--no-progress",
            ]
            words += ["--python", sys.executable, "--python-platform", platform, "--target", empty]
            done = run(str(BIN / "uv"), *words, "--requirement", str(file), **UV_LIMITS)
        for withdrawn in WITHDRAWN.finditer(done.stderr):
            found.bad.add(f"withdrawn: {withdrawn['pin']}: {withdrawn['reason'] or 'no reason is given'}")
        if done.returncode == 0:
            continue
        gone = NOT_THERE.search(done.stderr) if "No solution found" in done.stderr else None
        if gone:
            found.bad.add(f"not in the index any more: {gone['pin'] or gone['name']}")
        else:
            found.unasked.add(
                f"not asked whether anything of {file.name} is withdrawn: {first_error(done.stderr)}"
            )


def ask_for_faults(files: Sequence[Path], found: Findings, osv_url: str | None) -> None:
    words = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--desc", "off"]
    words += ["--vulnerability-service", "osv", "--osv-url", osv_url] if osv_url else []
    words += [word for file in files for word in ("--requirement", str(file))]
    done = run(str(BIN / "pip-audit"), *words)
    read_faults(done.stdout, found, otherwise=first_error(done.stderr))


def read_faults(text: str, found: Findings, *, otherwise: str) -> None:
    """`text`: what pip-audit has found, as JSON. `otherwise`: why there is none."""
    answers = parsed(text)
    # What its database does not know it leaves out, and says that there is no known fault: that is not asked, and no pass.
    asked = [each for each in answers if "skip_reason" not in each]
    if not answers:
        found.unasked.add(f"not asked for known faults: {otherwise}")
    elif len(asked) < len(answers):
        what = f"{len(answers) - len(asked)} of {counted(len(answers), 'pin')}"
        found.unasked.add(
            f"not asked for known faults of {what}: the database of faults does not know them here"
        )
    for each in asked:
        for fault in each["vulns"]:
            pin, versions = f"{each['name']}=={each['version']}", ", ".join(fault["fix_versions"])
            if versions:
                found.bad.add(f"known fault: {pin}: {fault['id']}, mended in {versions}")
            else:
                found.told.add(f"known fault: {pin}: {fault['id']}, which no version mends yet")


def parsed(text: str) -> list[dict[str, Any]]:
    try:
        return list(json.loads(text)["dependencies"])
    except (ValueError, KeyError):
        return []


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a program said, and how it ended; one that does not end has said nothing."""
    try:
        return run_process(
            words,
            env=environment | os.environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, -1, "", f"error: no answer within {DEADLINE_S} s")


def first_error(text: str) -> str:
    """The same for the same error: without times, and without addresses, which may hold a password."""
    lines = (
        [line for line in text.splitlines() if "error" in line.casefold()] or text.splitlines() or ["no word"]
    )
    return re.sub(r" in [\d.]+m?s\b", "", re.sub(r"\w+://\S+", "...", lines[0].strip()))


if __name__ == "__main__":
    sys.exit(main())
