"""What is to be done with a file, and the options beside it, as fields of a form: made of the table that every face has them of."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from worker.domain.options import OPTIONS, UPDATE_OPTIONS, RunOptions, clashes
from worker.web.api.submitting import LISTS, to_options
from worker.web.pages.checks import AS_WRITTEN
from worker.web.pages.rendering import label
from worker.web.pages.steering import to_count

OPERATIONS = {
    "install": (
        "Install",
        "Installs connectors that are not there, and fills in what those that are there lack.",
    ),
    "update": ("Update", "Changes connectors that are there to what the file says. Nothing is created."),
}
# What is asked when a job is started, whatever its check was made with.
OF_START = ("first", "skip_invalid")
OF_CHECK = tuple(name for name in OPTIONS if name not in OF_START)
TICKS = tuple(name for name in OF_CHECK if OPTIONS[name].type is bool)


@dataclass(frozen=True, slots=True)
class Tick:
    """An option that is given or not. `fault`: why it cannot be given beside the others; empty: it can."""

    name: str
    label: str
    about: str
    is_given: bool
    fault: str


@dataclass(frozen=True, slots=True)
class OptionFields:
    """The fields, as they are filled in. `faults`: option -> why it cannot be given beside the others."""

    options: RunOptions
    faults: Mapping[str, str]

    @classmethod
    def of(cls, options: RunOptions) -> "OptionFields":
        return cls(options, dict(clashes(options, label)))

    @property
    def as_query(self) -> str:
        return as_query(self.options)

    @property
    def operations(self) -> list[tuple[str, str, str, bool]]:
        """Each with its label, what it does, and whether it is chosen."""
        return [(name, *words, self.options.operation == name) for name, words in OPERATIONS.items()]

    @property
    def ticks(self) -> list[tuple[str, list[Tick]]]:
        """By what they are for, in words."""
        for_all = [self._tick(name) for name in TICKS if name in UPDATE_OPTIONS]
        for_install = [self._tick(name) for name in TICKS if name not in UPDATE_OPTIONS]
        return [("Of an install", for_install), ("Of an install or an update", for_all)]

    def doubts(self, doubted: frozenset[str]) -> list[tuple[str, str, bool]]:
        """Columns whose values may be taken as written, what is in them, and whether they are. `doubted`: those with values that are
        refused otherwise."""
        taken = self.options.as_written
        shown = taken | doubted
        return [(column, what, column in taken) for column, what in AS_WRITTEN.items() if column in shown]

    @property
    def is_open(self) -> bool:
        """Whether the ticks are shown at once: where one is given."""
        return any(getattr(self.options, name) for name in TICKS)

    def _tick(self, name: str) -> Tick:
        is_given, does = bool(getattr(self.options, name)), OPTIONS[name].metadata["does"]
        return Tick(name, label(name), does, is_given, self.faults.get(name, ""))


def options_of(given: Iterable[tuple[str, str]]) -> RunOptions:
    """Of the fields of a form, or of an address; what is no option is left alone. Raises: HttpError (422)."""
    asked: dict[str, object] = {}
    for name, text in given:
        if not (text := text.strip()) or name not in OPTIONS:
            continue
        if name in LISTS:
            asked[name] = [*asked.get(name, []), text]  # type: ignore[misc]
        else:
            asked[name] = to_count(text) if name == "first" else text
    return to_options(asked).to_run_options()


def as_query(options: RunOptions) -> str:
    """What a check is made with, as the query of an address; empty: nothing that is not so by itself."""
    return urlencode(list(_given(options)))


def _given(options: RunOptions) -> Iterator[tuple[str, str]]:
    for name in OF_CHECK:
        value = getattr(options, name)
        if name in LISTS:
            yield from ((name, each) for each in sorted(value))
        elif value != OPTIONS[name].default:
            yield name, "yes" if value is True else str(value)
