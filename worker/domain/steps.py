"""The steps of an operation: the kinds of call that change something, and how people are told of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepKind:
    """`call`: its name among the calls of attempts and tallies. `is_repeatable`: a second call does no harm.
    `needs_secret`: it sends what the row keeps sealed.

    `noun`, `may_be`, `undone`: what people are told of it, as `the install`, `may be installed`, `not installed`.
    """

    name: str
    call: str
    is_repeatable: bool
    needs_secret: bool
    noun: str
    may_be: str
    undone: str


ACCOUNT = StepKind(
    "account",
    "create_account",
    is_repeatable=True,  # the account's id is ours
    needs_secret=False,
    noun="the creation of the account",
    may_be="the account may have been created",
    undone="the account was not created",
)
CONNECTOR = StepKind(
    "connector",
    "install",
    is_repeatable=False,
    needs_secret=True,
    noun="the install",
    may_be="may be installed",
    undone="not installed",
)
