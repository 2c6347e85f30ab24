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


@dataclass(frozen=True, slots=True)
class Notes:
    """What is known to be done of an item, and what may have been sent: written with every verdict, whatever it is, and
    before each further call.

    `steps_done`: names of steps. `sent`: the step whose call may have gone out and was not answered; None: there is none.
    `highest_id`: of the account's connectors when none of this item's was among them, before that call; 0 in an account that
    this item made; None: nobody has looked. `account_connector_id`: of what was done.
    """

    account_exists: bool = False
    account_created: bool = False
    steps_done: tuple[str, ...] = ()
    sent: str | None = None
    highest_id: int | None = None
    account_connector_id: int | None = None
