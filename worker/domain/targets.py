"""A target is what may exist once: one Name in one account of one instance."""

import hashlib
import unicodedata


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
