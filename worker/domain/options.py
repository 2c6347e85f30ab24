"""What may be asked beside the file, and which part of it makes a job what it is.

An option is declared once, as a field: its name, type and default, and what it does. Commands, the API and the pages take
theirs from that.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

AS_WRITTEN_COLUMNS = ("account_id", "connector_version")
# Stored beside a job's options: a worker of the version before that takes such a row looks first, and leaves alone what is there.
FOR_THE_VERSION_BEFORE = {"look_first": True, "if_present": "skip"}
OperationName = Literal["install", "update"]


def option(does: str, metavar: str | None = None) -> dict[str, str | None]:
    """Of a field that a person may give. `does`: told in every face. `metavar`: stands for the value where it is typed."""
    return {"does": does, "metavar": metavar}


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What makes a job what it is, beside its content, its connector and its instance."""

    skip_invalid: bool = field(
        default=False,
        metadata=option("Leave out the rows with problems; the result file says what is wrong with each."),
    )
    no_look: bool = field(
        default=False,
        metadata=option(
            "Do not look into the accounts first: for accounts known to be empty. Half the calls."
        ),
    )
    overwrite: bool = field(
        default=False, metadata=option("Also change what is there already and has another value.")
    )
    beside: bool = field(
        default=False, metadata=option("Install beside the same connector that is there under another Name.")
    )
    replace_tokens: bool = field(
        default=False, metadata=option("Also replace OAuth tokens, which Cyclr renews by itself.")
    )
    assume_method: bool = field(
        default=False,
        metadata=option(
            "Set a credential also where Cyclr does not show by which method the connector was installed: it is the row's."
        ),
    )
    allow_undeclared: bool = field(
        default=False, metadata=option("Set properties too that the connector does not declare.")
    )
    no_undo: bool = field(
        default=False, metadata=option("Keep nothing of what is overwritten: it cannot be put back then.")
    )
    look_again: bool = field(
        default=False,
        metadata=option("Look again at the rows of a result file that are known to be done."),
    )
    sheet: str | None = field(
        default=None,
        metadata=option("The sheet of a workbook; else the first one with a known column.", "NAME"),
    )
    map: frozenset[str] = field(
        default=frozenset(),
        metadata=option(
            "What a column of another name is, such as `Kontonummer=account_id`; nothing behind the sign: it is not used. May be given"
            " several times.",
            "COLUMN=NAME",
        ),
    )
    # Of a job of the version before, which left alone what was there.
    is_older: bool = False

    @property
    def looks_first(self) -> bool:
        """Whether each account is looked into before its first change."""
        return not self.no_look

    def of_job(self) -> "JobOptions":
        """Nothing but these, of a value that holds more."""
        return JobOptions(**{field.name: getattr(self, field.name) for field in fields(JobOptions)})

    def told(self) -> dict[str, bool | str | list[str] | None]:
        """By the names under which people give them."""
        told = {field.name: getattr(self, field.name) for field in fields(JobOptions) if field.metadata}
        return told | {"map": sorted(self.map)}

    def to_json(self) -> dict[str, Any]:
        return self.told() | FOR_THE_VERSION_BEFORE

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "JobOptions":
        """`kept`: what `to_json` gave, in this version or another one, which may know fewer options, or more."""
        if "no_look" not in kept:
            return cls.older(
                skip_invalid=kept.get("skip_invalid", False),
                look_first=kept.get("look_first", False),
                skips=kept.get("if_present") == "skip",
            )
        known = {field.name: kept[field.name] for field in fields(JobOptions) if field.name in kept}
        return JobOptions(**known | {"map": frozenset(kept.get("map", ()))})

    @classmethod
    def older(cls, *, skip_invalid: bool, look_first: bool, skips: bool) -> "JobOptions":
        """What the options of the version before mean. `skips`: it left alone a connector that is there under another Name."""
        return JobOptions(
            skip_invalid=skip_invalid,
            no_look=not (look_first or skips),
            beside=not skips,
            is_older=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(JobOptions):
    """All that may be asked of a run. `is_list`: the file was made here of a list of values.

    But for the connector these are no part of a job's identity: once it is loaded, rows go on in any number, and nothing is
    judged any more.
    """

    connector: str | None = field(
        default=None, metadata=option("Name or id of the connector, for all rows.", "NAME")
    )
    first: int | None = field(default=None, metadata=option("Do so many rows, then pause.", "N"))
    as_written: frozenset[str] = field(
        default=frozenset(),
        metadata=option(
            "Columns whose values are taken as they stand, though a spreadsheet may have made them: account_id or"
            " connector_version; may be given several times.",
            "COLUMN",
        ),
    )
    operation: str = field(
        default="install",
        metadata=option(
            "`install` creates, or fills in what is missing; `update` changes what is there, and creates nothing."
        ),
    )
    is_list: bool = False

    @classmethod
    def of(cls, job: JobOptions, *, connector: str | None, operation: str) -> "RunOptions":
        """What a job was begun with, as far as that makes it what it is."""
        kept = {field.name: getattr(job, field.name) for field in fields(JobOptions)}
        return RunOptions(**kept, connector=connector, operation=operation)

    @property
    def overwrites(self) -> bool:
        """Whether values that are there may be replaced by the file's."""
        return self.overwrite or self.operation == "update"


# The fields that a person may give, in the order in which they are told.
OPTIONS = {
    name: RunOptions.__dataclass_fields__[name]
    for name in (
        *(
            "operation",
            "connector",
            "sheet",
            "map",
            "first",
            "skip_invalid",
            "no_look",
            "overwrite",
            "beside",
            "replace_tokens",
        ),
        *("assume_method", "allow_undeclared", "no_undo", "look_again", "as_written"),
    )
}

# What an update may be asked beside its file. It looks and overwrites in any case, and creates nothing.
UPDATE_OPTIONS = (
    *("connector", "sheet", "map", "first", "skip_invalid", "as_written"),
    *("replace_tokens", "assume_method", "allow_undeclared", "no_undo"),
)
_NEED_A_LOOK = ("overwrite", "beside", "assume_method", "look_again")

Spelt = Callable[[str], str]  # how an option is written where a person gives it: `--no-look`, `no_look`


def clashes(options: RunOptions, spelt: Spelt) -> Iterator[tuple[str, str]]:
    """The options that make no sense beside the others, each with why."""
    given = [field.name for field in fields(JobOptions) if getattr(options, field.name) is True]
    if options.operation == "update":
        for name in given:
            if name not in UPDATE_OPTIONS:
                yield (
                    name,
                    f"an update looks and overwrites in any case, and creates nothing: leave {spelt(name)} out",
                )
    elif options.no_look:
        for name in given:
            if name in _NEED_A_LOOK:
                yield (
                    name,
                    f"{spelt(name)} needs the look that {spelt('no_look')} leaves out: give one of the two",
                )
    if options.replace_tokens and not options.overwrites:
        reason = f"it says what {spelt('overwrite')} may replace: give that too, or leave {spelt('replace_tokens')} out"
        yield "replace_tokens", reason


def gone_options(spelt: Spelt) -> dict[str, str]:
    """The options of versions before this one: what is given instead of each."""
    return {
        "look_first": (
            f"{spelt('look_first')} is gone, since a run looks first by itself: leave it out; {spelt('no_look')} is for accounts"
            " known to be empty"
        ),
        "if_present": (
            f"{spelt('if_present')} is gone, since a run leaves alone what is there under another Name: leave it out where it said"
            f" skip, and give {spelt('beside')} where it said install"
        ),
    }
