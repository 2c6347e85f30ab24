"""Commands as a person types them, for the messages that say what to do next."""

import shlex
from pathlib import Path

from worker.domain.options import IfPresent
from worker.jobs.options import RunOptions

STDIN = Path("-")  # the rows come through a pipe


def run_again(file: Path, options: RunOptions, results: Path | None = None) -> str:
    """The command that goes on with the same job: the same options, all of its rows. `file`: as a person types it."""
    words = ["cyclr-bulk", "run", file_argument(file)]
    words += ["--connector", options.connector] if options.connector else []
    words += ["--yes"] if file == STDIN else []  # nobody can be asked there
    words += ["--results", str(results)] if results else []
    words += ["--skip-invalid"] if options.skip_invalid else []
    words += ["--look-first"] if options.look_first else []
    words += ["--if-present", "skip"] if options.if_present is IfPresent.SKIP else []
    words += [word for column in sorted(options.as_written) for word in ("--as-written", column)]
    return " ".join(map(quoted, words))


def quoted(word: object) -> str:
    """The word as it is typed in a shell."""
    return shlex.quote(str(word))


def file_argument(file: Path) -> str:
    """The path so that no command takes it for an option; `-` stays what comes through a pipe."""
    return f"./{file}" if str(file).startswith("-") and file != STDIN else str(file)
