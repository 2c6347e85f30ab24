"""A question to the person at the terminal, answered after it was asked."""

import shutil
import sys
from contextlib import suppress

from worker.cli.exits import say
from worker.cli.streams import visible_line

ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}
PROMPT = "[y/N]: "


def can_ask() -> bool:
    return sys.stdin.isatty()


def agrees(question: str) -> bool:
    """Whether the person says yes. What was typed before the question is no answer to it."""
    _forget_what_was_typed()
    shown = visible_line(question)
    while True:
        # Not by `input`: it would edit the line as if the question, which may fill several lines, were not there.
        sys.stderr.write(f"{shown}{_between(shown)}{PROMPT}")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line.endswith("\n"):  # the end of the input
            say()
            return False
        answer = ANSWERS.get(line.strip().casefold())
        if answer is not None:
            return answer
        say("Please answer y or n.")


def _between(question: str) -> str:
    """What keeps the prompt whole, where the terminal's line ends in it."""
    columns = shutil.get_terminal_size().columns
    return "\n" if len(question) % columns + len(f" {PROMPT}") > columns else " "


def _forget_what_was_typed() -> None:
    try:
        import termios
    except ImportError:  # Windows
        return
    with suppress(termios.error, OSError, ValueError):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
