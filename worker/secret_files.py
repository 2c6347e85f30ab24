"""`NAME_FILE`: a secret setting in a file of its own, as orchestrators hand it over (`/run/secrets/...`)."""

from collections.abc import Iterable, Mapping
from pathlib import Path

SUFFIX = "_FILE"
MOST_BYTES = 65_536


def read_secret_files(
    secrets: Iterable[str], places: Iterable[Mapping[str, str | None]]
) -> tuple[dict[str, str], list[str]]:
    """Secret setting -> what its file says, and what is wrong with files, a line for each. No content is in a line.

    `secrets`: names as the settings' fields. `places`: name -> value, the one that goes first first; who sets a secret in one way
    in one place has set it, whatever a later place says.
    """
    values: dict[str, str] = {}
    problems: list[str] = []
    named = [{name.upper(): value for name, value in place.items() if value} for place in places]
    for secret in secrets:
        name = secret.upper()
        place = next((place for place in named if name in place or name + SUFFIX in place), {})
        path = place.get(name + SUFFIX)
        if path is None:
            continue
        if name in place:
            problems.append(f"{name} and {name}{SUFFIX} are both set: set one of them")
            continue
        try:
            values[secret] = _read(Path(path))
        except _Unusable as error:
            problems.append(f"{name}{SUFFIX}: {path}: {error}")
    return values, problems


class _Unusable(Exception):
    """The text says why, and nothing of what is in the file."""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _Unusable(f"it cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise _Unusable(f"expected a secret of at most {MOST_BYTES} bytes, got more")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Unusable("expected text in UTF-8, got other bytes") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise _Unusable("it is empty")
    return text
