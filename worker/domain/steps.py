"""The steps of an operation: the kinds of call that change something, how people are told of them, and what is noted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NOTHING = "nothing"  # stands for a step's name where an item is in hand and nothing of it was sent


@dataclass(frozen=True, slots=True, eq=False)  # each is itself, and found by that
class StepKind:
    """A kind of call that changes something.

    `call`: its name among the calls of attempts and tallies. `is_repeatable`: a second call does no harm. `needs_secret`:
    it sends what the row keeps sealed. `is_before_target`: it makes the account that the target is in, and leaves the target
    itself alone. `noun`, `may_be`, `undone`: what people are told of it, as `the install`, `may be installed`, `not installed`.
    """

    name: str
    call: str
    is_repeatable: bool
    needs_secret: bool
    noun: str
    may_be: str
    undone: str
    is_before_target: bool = False


ACCOUNT = StepKind(
    "account",
    "create_account",
    is_repeatable=True,  # the account's id is ours
    needs_secret=False,
    noun="the creation of the account",
    may_be="the account may have been created",
    undone="the account was not created",
    is_before_target=True,
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
PROPERTY = StepKind(
    "property",
    "set_property",
    is_repeatable=True,  # the same value again
    needs_secret=True,
    noun="the change of a property",
    may_be="a property may have been changed",
    undone="a property was not changed",
)
NEW_PROPERTY = StepKind(
    "new_property",
    "add_property",
    is_repeatable=False,  # a second one of the same name may be added
    needs_secret=True,
    noun="the adding of a property",
    may_be="a property may have been added",
    undone="a property was not added",
)
CREDENTIAL = StepKind(
    "credential",
    "set_credential",
    is_repeatable=True,
    needs_secret=True,
    noun="the change of the credential",
    may_be="the credential may have been changed",
    undone="the credential was not changed",
)
KINDS = (ACCOUNT, CONNECTOR, PROPERTY, NEW_PROPERTY, CREDENTIAL)
FIELD_KINDS = (PROPERTY, NEW_PROPERTY, CREDENTIAL)
# What the rows of an update are about: any of these.
CHANGE = StepKind(
    "change",
    "change",
    is_repeatable=True,
    needs_secret=True,
    noun="the change",
    may_be="may be changed",
    undone="not changed",
)
STEPS: dict[str, tuple[StepKind, ...]] = {
    "install": (ACCOUNT, CONNECTOR, *FIELD_KINDS),
    "update": FIELD_KINDS,
}
# What the rows of each operation are about, for texts where no single step is meant.
ABOUT: dict[str, StepKind] = {"install": CONNECTOR, "update": CHANGE}
# Where this is what was sent, what a look finds of the target is not the item's.
LEAVE_THE_TARGET_ALONE = (NOTHING, *(kind.name for kind in KINDS if kind is not CONNECTOR))


@dataclass(frozen=True, slots=True)
class Notes:
    """What is known to be done of an item, and what may have been sent: written with every verdict, whatever it is, and
    before each further call.

    `steps_done`: the names of those that the item's own calls have done. `sent`: the step whose call may have gone out and was
    not answered; None: there is none. `highest_id`: of the account's connectors when none of this item's was among them,
    before that call; 0 in an account that this item made; None: nobody has looked. `account_connector_id`: of what was done.
    `before`: how a field of the row was (`missing`, `other`, `not_shown`) before the item's first call that sets it. `changed`:
    the fields that its calls have set; `shown_otherwise`: those that a 200 of ours showed otherwise than sent, to this item or
    to an earlier one of its target. `undo`: what was overwritten, sealed.
    """

    account_exists: bool = False
    account_created: bool = False
    steps_done: tuple[str, ...] = ()
    sent: str | None = None
    highest_id: int | None = None
    account_connector_id: int | None = None
    before: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    shown_otherwise: tuple[str, ...] = ()
    undo: bytes | None = field(default=None, repr=False)

    @property
    def is_begun(self) -> bool:
        """Whether the item has sent or done anything. That the account exists is not its doing."""
        return bool(self.sent or self.steps_done or self.account_created or self.changed)


def needs_secret(operation: str) -> bool:
    """Whether a row whose sealed data is wiped can be tried no more; so it is with an operation of a later version."""
    return any(step.needs_secret for step in STEPS.get(operation, (CONNECTOR,)))
