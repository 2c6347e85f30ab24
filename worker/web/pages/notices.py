"""What a page says after something was done: the address carries the deed and its numbers, never a text."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.domain.wording import counted


@dataclass(frozen=True, slots=True)
class Notice:
    kind: str
    text: str


_PLAIN = {
    "started": Notice("good", "The job has been handed in."),
    "known": Notice("", "This file was handed in before: this is its job."),
    "paused": Notice("", "Paused. Calls in flight are waited for; nothing new is sent."),
    "resumed": Notice("good", "Resumed."),
    "cancelled": Notice("", "Cancelled. What is installed stays installed."),
}


def find_notice(query: Mapping[str, str]) -> Notice | None:
    """`query`: of the page's address, which anybody may have written."""
    done = query.get("done", "")
    return _retried(query) if done == "retried" else _PLAIN.get(done)


def _retried(query: Mapping[str, str]) -> Notice:
    queued, wiped, live = (_number(query, name) for name in ("queued", "wiped", "live"))
    first = (
        f"{counted(queued, 'row')} will be tried again; each account is looked into first."
        if queued
        else "There was nothing that could be tried again."
    )
    sentences = [first]
    if wiped:
        sentences.append(
            f"{counted(wiped, 'row')} left out, since the credentials are no longer kept: fill them in again in"
            " the result file, and hand that in as a new job."
        )
    if live:
        sentences.append(
            f"{counted(live, 'row')} left out, since another unfinished job has the account and name."
        )
    return Notice("good" if queued and not wiped and not live else "warn", " ".join(sentences))


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
