"""Why rows failed: messages that differ only in a name or a number are one reason."""

import hashlib
import json
import re
from collections.abc import Sequence

KEY_LENGTH = 8  # of the key that people see and type: one group of a job has it, but for chance
KEY_PATTERN = rf"^[0-9a-f]{{{KEY_LENGTH}}}$"
# A name in quotes, where an apostrophe inside a word opens none; or a word that holds a digit, as ids do.
_VARYING = re.compile(r"""((?<!\w)'.+?'(?!\w)|"[^"]+"|[\w-]*\d[\w-]*)""")


def cut(message: str | None) -> list[str]:
    """The message in parts, those that may differ from row to row in every second place."""
    return _VARYING.split(message or "")


def reason_key(
    code: str, http_status: int | None, message: str | None, *, can_retry_help: bool | None
) -> str:
    """The same for all failures of one reason: 32 characters."""
    fixed = [code, http_status, bool(can_retry_help), *cut(message)[::2]]
    return hashlib.sha256(json.dumps(fixed).encode()).hexdigest()[:32]


def in_common(mine: Sequence[str], other: Sequence[str]) -> list[str]:
    """The parts of two messages of one reason, with `…` where they differ."""
    return [_either(one, two) for one, two in zip(mine, other, strict=True)]


def _either(one: str, two: str) -> str:
    if one == two:
        return one
    return "'…'" if one.startswith(("'", '"')) else "…"
