"""Exit codes, and how a failure is said to a person."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

ALL_INSTALLED = 0
SOME_FAILED = 1
NOTHING_DONE = 2  # the file, the settings or the usage is wrong, and nothing was installed
STOPPED = 3  # before the end, or declined


def say(text: str = "") -> None:
    """A line for the person, to stderr: stdout is for what was asked for."""
    typer.echo(text, err=True)


@contextmanager
def failures_in_words(*, nothing_done: str = "Nothing was installed.") -> Iterator[None]:
    """Known failures end the command with their message and exit code 2, an interrupt with 3."""
    from worker.cyclr.errors import CyclrError
    from worker.embedded import EmbeddedModeError
    from worker.intake import FileChanged, Unreadable
    from worker.jobs import Rejected
    from worker.settings import InvalidSettings
    from worker.store.session import NewerSchema

    try:
        with _signals_as_interrupts():
            yield
    except (Unreadable, Rejected) as error:
        from worker.cli.report import say_problems

        say_problems(error.problems, len(error.problems))
    except (InvalidSettings, FileChanged, EmbeddedModeError, NewerSchema) as error:
        say(str(error))
    except CyclrError as error:
        say(_cyclr_in_words(error))
    except OSError as error:
        say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        say(f"Stopped. {nothing_done}")
        raise typer.Exit(STOPPED) from None
    else:
        return
    say(nothing_done)
    raise typer.Exit(NOTHING_DONE)


def _cyclr_in_words(error: Exception) -> str:
    from worker.cyclr.errors import CredentialsRefused, NeverSent

    hints = {
        CredentialsRefused: "Check both in Cyclr's console, and that they belong to the region of CYCLR_API_URL.",
        NeverSent: "Check CYCLR_API_URL and the network.",
    }
    hint = hints.get(type(error), "Try again; if it stays so, look at Cyclr's status page.")
    return f"{error}. {hint}"


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP end the command as Ctrl-C does: with its `finally` blocks, and a message."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [n for n in (getattr(signal, name) for name in names) if signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
