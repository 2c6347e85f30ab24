"""A target is what may exist once: one Name in one account of one instance."""

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import Literal


def fold(text: str) -> str:
    """The text as Cyclr is taken to compare it: trimmed, NFKC, case-folded.

    Source: the name check of Cyclr sits on a database that looks like MySQL, which compares without case.
    """
    if text.isascii():  # where the long way changes nothing more
        return text.strip().lower()
    return unicodedata.normalize("NFKC", text.strip()).casefold().strip()


def target_key(instance_id: str, account_id: str, name: str) -> str:
    """A short stable key of the target, equal for every spelling that `fold` makes equal."""
    parts = "\x1f".join((instance_id, fold(account_id), fold(name)))
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def instance_key(api_url: str, client_id: str) -> str:
    """The identity of one Cyclr: its API URL and client id. Jobs, limiter keys and targets are per instance."""
    parts = f"{api_url.rstrip('/').casefold()}\x1f{client_id}"
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class KnownTarget:
    """A target that an item had before. `live`: queued or running now; `installed`: that is how it ended; `tried`: it ended
    otherwise, or however it ended in a job that is deleted: it may have been sent before.

    `job_id`, `row_number`: the item; empty and 0 where its job is deleted.
    """

    state: Literal["live", "installed", "tried"]
    job_id: str
    row_number: int
