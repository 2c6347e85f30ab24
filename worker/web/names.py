"""Names that came in a request, as they may be told: one that nobody knows may be a secret that was pasted in its place."""

import difflib

from worker.intake.columns import find_similar, is_known, is_own

UNKNOWN = "(unknown name)"
MOST_SHOWN = 80
# What bodies, forms and addresses of the API call things, beside the columns of items; a test holds it to the models.
REQUEST_NAMES = frozenset(
    {
        *("options", "items", "file", "validate_only"),
        *("source_name", "connector", "first", "skip_invalid", "look_first", "if_present", "as_written"),
        *("codes", "reason", "expires_in_days"),
    }
)


def known_name(name: str) -> str:
    """The name, where it is one of ours, a person's own (`x_`), or resembles one of ours, so that they can find it; UNKNOWN
    for any other."""
    is_told = (
        name in REQUEST_NAMES
        or is_known(name)
        or is_own(name)
        or find_similar(name) is not None
        or bool(difflib.get_close_matches(name, REQUEST_NAMES, n=1, cutoff=0.8))
    )
    return name[:MOST_SHOWN] if is_told else UNKNOWN
