"""The settings as a command reads them: what is doubtful about them is said."""

from typing import Any

from worker.cli.exits import say
from worker.settings import CyclrSettings, InvalidSettings, load_settings


def read_settings(**needs: Any) -> CyclrSettings:
    """As `load_settings`. Raises: InvalidSettings."""
    try:
        settings = load_settings(**needs)
    except InvalidSettings as error:
        say_doubts(error.doubts)
        raise
    say_doubts(settings.doubts)
    return settings


def say_doubts(doubts: tuple[str, ...]) -> None:
    """To a person."""
    for doubt in doubts:
        say(f"warning: {doubt}")
