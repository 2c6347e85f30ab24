"""The settings as a command reads them: what is doubtful about them is said."""

from typing import Any

from worker.cli.exits import say
from worker.settings import CyclrSettings, InvalidSettings, load_settings


def read_settings(**needs: Any) -> CyclrSettings:
    """As `load_settings`. Raises: InvalidSettings."""
    try:
        settings = load_settings(**needs)
    except InvalidSettings as error:
        _say(error.doubts)
        raise
    _say(settings.doubts)
    return settings


def _say(doubts: tuple[str, ...]) -> None:
    for doubt in doubts:
        say(f"warning: {doubt}")
