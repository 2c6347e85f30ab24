"""A row held against what is known: its connector, by the catalogue's rules, and our own past. Pure.

Of a result file, `_job` and `_row` lead to a stored credential. A spreadsheet turns ids into numbers, sorts one column without the
others, copies rows and counts on; so what they lead to is compared with the row before anything of it is used.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.domain.connectors import AuthMethod, Connector, ConnectorRef, Parameter
from worker.domain.options import RunOptions
from worker.domain.rows import AUTH_COLUMNS, PROPERTY_PREFIX, Problem, Row, StoredRow, Warning_, Way
from worker.domain.targets import KnownTarget, fold
from worker.intake.columns import Header
from worker.intake.rows import LATER, credential_kinds, is_free, withheld_columns
from worker.intake.survey import Survey, stored_key

_CREDENTIAL_OF = {"basic": "username", "apikey": "api_key", "oauth2": "access_token"}
_SAID = {"username": "username and password"}
_MUST_HAVE = frozenset({"basic", "apikey"})
_APP_CREDENTIALS = ("ClientId", "ClientSecret")
_SHOWN_CHARACTERS = 60

StoredAt = tuple[str, int]  # the job id and the row number of an item


@dataclass(frozen=True, slots=True)
class Fit:
    """What came of it. `authentication_id`: the method to name at install; None names none."""

    authentication_id: str | None
    problems: tuple[Problem, ...]
    warnings: tuple[Warning_, ...]


def fit_row(
    number: int,
    authentication: str | None,
    values: Mapping[str, str | None],
    connector: Connector,
    options: RunOptions,
) -> Fit:
    """How a row fits its connector.

    `values`: canonical column -> value for the auth and property columns that are not empty; None is a value
    that is not at hand.
    """
    kinds = credential_kinds(frozenset(values).intersection(AUTH_COLUMNS))
    # What is there has its method, and an update without a credential leaves it alone.
    leaves_it_open = not kinds and (options.operation == "update" or _is_later(authentication))
    method, problems = _choose_method(number, authentication, connector, leaves_it_open=leaves_it_open)
    if method is not None:
        problems.extend(_credential_problems(number, kinds, method, connector, may_lack=leaves_it_open))
    names = undeclared(values, connector)
    warnings: list[Warning_] = []
    if options.allow_undeclared:
        warnings.extend(_undeclared_warnings(number, names, connector))
    else:
        problems.extend(_undeclared_problems(number, names, connector))
    if options.operation != "update":
        warnings.extend(_missing_property_warnings(number, values, connector))
    warnings.extend(_choice_warnings(number, values, connector))
    return Fit(None if method is None else method.id, tuple(problems), tuple(warnings))


def _is_later(authentication: str | None) -> bool:
    return authentication is not None and fold(authentication) == LATER


def _choose_method(
    number: int, authentication: str | None, connector: Connector, *, leaves_it_open: bool
) -> tuple[AuthMethod | None, list[Problem]]:
    methods = connector.methods
    if authentication is None or _is_later(authentication):
        if len(methods) == 1:
            return methods[0], []
        if not methods or leaves_it_open or authentication is not None:
            return None, []
        reason = (
            f"{connector.name} offers several methods, expected one of {_listed(methods)}, got an empty cell"
        )
        return None, [Problem(number, "authentication", reason)]
    if not methods:
        reason = f"{connector.name} offers no method to choose from: leave the cell empty"
        return None, [Problem(number, "authentication", reason)]
    matching = tuple(method for method in methods if method.answers_to(authentication))
    if len(matching) == 1:
        return matching[0], []
    if matching:
        ids = ", ".join(f"{method.id} ({method.name})" for method in matching)
        reason = f"it means several methods of {connector.name}: give the id of one, {ids}"
        return None, [Problem(number, "authentication", reason)]
    # The cell is not shown: in a line that lost a cell a credential may stand here.
    reason = f"expected a method of {connector.name}, one of {_listed(methods)}, or {LATER}; got another text"
    return None, [Problem(number, "authentication", reason)]


def _listed(methods: tuple[AuthMethod, ...]) -> str:
    return ", ".join(f"'{method.name}' ({method.auth_type})" for method in methods)


def _credential_problems(
    number: int, kinds: Sequence[str], method: AuthMethod, connector: Connector, *, may_lack: bool
) -> Iterator[Problem]:
    """`kinds`: of credential that the row has. `may_lack`: it needs none now."""
    auth_type = fold(method.auth_type)
    of = f"the method '{method.name}' ({method.auth_type}) of {connector.name}"
    fitting = _CREDENTIAL_OF.get(auth_type)
    if not kinds:
        if auth_type in _MUST_HAVE and not may_lack:
            reason = f"{of} needs {_said(fitting)}, got no credential; or write {LATER} in the column authentication"
            yield Problem(number, fitting, reason)
        return
    for kind in kinds:
        if auth_type == "none":
            yield Problem(number, kind, f"{of} takes no credential, got {_said(kind)}: empty the cell")
        elif kind not in ("auth_value", fitting) and auth_type in {*_CREDENTIAL_OF, "oauth1", "authfields"}:
            yield Problem(number, kind, f"{of} takes {_said(fitting)}, got {_said(kind)}")


def _said(kind: str | None) -> str:
    return "auth_value" if kind is None else _SAID.get(kind, kind)


def undeclared(columns: Iterable[str], connector: Connector) -> list[str]:
    """The properties among these columns that are no account properties of the connector, by their TargetNames."""
    declared = {parameter.target_name for parameter in connector.account_properties}
    names = (column.removeprefix(PROPERTY_PREFIX) for column in columns if column.startswith(PROPERTY_PREFIX))
    return [name for name in names if name not in declared]


def _undeclared_problems(number: int, names: Sequence[str], connector: Connector) -> Iterator[Problem]:
    for name in names:
        if is_app_credential(name, connector):
            continue
        reason = (
            f"{connector.name} has no such property"
            if all(parameter.target_name != name for parameter in connector.parameters)
            else f"it is not an account property of {connector.name}"
        )
        column = PROPERTY_PREFIX + name
        yield Problem(number, column, f"{reason}; {_declared(connector)}", way=Way.UNDECLARED)


def _undeclared_warnings(number: int, names: Sequence[str], connector: Connector) -> Iterator[Warning_]:
    for name in names:
        if not is_app_credential(name, connector):
            reason = f"{connector.name} does not declare this property, and Cyclr may refuse it"
            yield Warning_(number, PROPERTY_PREFIX + name, reason)


def is_app_credential(name: str, connector: Connector) -> bool:
    """Whether this is what every connector that signs in by OAuth 2 may have of an account, though it declares it nowhere.

    Source: reference section 8.
    """
    return name in _APP_CREDENTIALS and any(
        fold(method.auth_type) == "oauth2" for method in connector.methods
    )


def _declared(connector: Connector) -> str:
    names = ", ".join(parameter.target_name for parameter in connector.account_properties)
    return f"expected one of {names}" if names else "it has none"


def _missing_property_warnings(
    number: int, values: Mapping[str, str | None], connector: Connector
) -> Iterator[Warning_]:
    for parameter in connector.account_properties:
        column = f"{PROPERTY_PREFIX}{parameter.target_name}"
        if column not in values and not parameter.is_optional:
            reason = (
                f"{connector.name} needs this property, and it is not given: it may not work until it is set"
            )
            yield Warning_(number, column, reason)


def _choice_warnings(
    number: int, values: Mapping[str, str | None], connector: Connector
) -> Iterator[Warning_]:
    for parameter in connector.account_properties:
        column = f"{PROPERTY_PREFIX}{parameter.target_name}"
        value = values.get(column)
        if value is not None and parameter.choices and value not in parameter.choices:
            yield Warning_(
                number,
                column,
                f"expected one of {', '.join(parameter.choices)}, got {_shown(parameter, value)}",
            )


def _shown(parameter: Parameter, value: str) -> str:
    if parameter.is_sensitive:
        return "another value"
    return f"'{value}'" if len(value) <= _SHOWN_CHARACTERS else f"'{value[:_SHOWN_CHARACTERS]}...'"


class Memory(Protocol):
    """The database, as far as intake needs it. Asked for about 1,000 rows at a time."""

    def targets(self, keys: Sequence[str]) -> Mapping[str, KnownTarget]:
        """Target key -> what is known of it; a key that is not known is left out."""

    def stored_rows(self, rows: Sequence[StoredAt]) -> Mapping[StoredAt, StoredRow | None]:
        """The items; None for a row that was refused at intake, of which nothing is stored, but if it referred to an item
        itself: that item without its secrets then. One that is not known is left out."""

    def namesakes(self, targets: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
        """(job id, target key) -> the row of that job which has this target; left out where none has."""


def connector_key(ref: ConnectorRef) -> str:
    """A stable text for the way a file names a connector; different ways have different texts."""
    # Neither part can hold a tab, whereas a name may end like a version.
    return ref.name_or_id if ref.version is None else f"{ref.name_or_id}\t{ref.version}"


@dataclass(frozen=True, slots=True)
class Past:
    """What memory says of the rows of a result file: `Memory.stored_rows` and `Memory.namesakes`."""

    rows: Mapping[StoredAt, StoredRow | None]
    namesakes: Mapping[tuple[str, str], int]

    def find_namesake(self, stored_at: StoredAt, target: str, known: KnownTarget | None) -> StoredAt | None:
        """Another row that had this target: of the same job, or one that is installed. `known`: what is known of the target."""
        job_id, number = stored_at
        namesake = self.namesakes.get((job_id, target))
        if namesake is not None and namesake != number:
            return job_id, namesake
        if known is None or known.state != "installed" or (known.job_id, known.row_number) == stored_at:
            return None
        return known.job_id, known.row_number


class Comparison:
    """Compares the rows of one result file with those that are stored."""

    def __init__(self, header: Header, instance_id: str, survey: Survey) -> None:
        self._header = header
        self._instance_id = instance_id
        self._survey = survey

    def problems(
        self,
        row: Row,
        name: str,
        connector: Connector | None,
        past: Past,
        target: str,
        known: KnownTarget | None,
    ) -> Iterator[Problem]:
        """Why nothing that is stored may be used for this row, nor its past be believed. Nothing of a row that brings its own
        credential, that was refused at intake and referred to none itself, or that refers to none.

        `name`: the Name that it asks for, `target` that Name in its account, and `known` what is known of it; `connector`:
        None where it is not known.
        """
        if row.stored_at is None or is_free(row, self._header):
            return
        job_id, number = row.stored_at
        of = f"row {number} of job {job_id}"
        as_new = self._as_new(row)
        if row.stored_at not in past.rows:
            reason = f"{of} is not known here, so nothing of it can be used: put back what the result file said, or {as_new}"
            yield self._problem(row, "_row", reason)
            return
        stored = past.rows[row.stored_at]
        if stored is None:
            return
        if stored.at is not None:
            of = f"row {stored.at[1]} of job {stored.at[0]}"
        first = self._survey.repeated.find(stored_key(row.stored_at))
        if first is not None:
            who = "another row refers" if first == row.number else f"row {first} refers"
            reason = f"{who} to {of} too, and only one can be it: put the right _row back, or {as_new}"
            yield self._problem(row, "_row", reason)
        if stored.instance_id != self._instance_id:
            yield self._problem(row, "_job", f"job {job_id} was for another Cyclr: {as_new}")
        yield from self._same_thing(row, of, stored, connector, as_new)
        namesake = past.find_namesake(row.stored_at, target, known)
        if fold(name) != fold(stored.name) and namesake is not None:
            yield self._name_of_another(row, of, stored, name, namesake, as_new)

    def _same_thing(
        self, row: Row, of: str, stored: StoredRow, connector: Connector | None, as_new: str
    ) -> Iterator[Problem]:
        if row.account_id != stored.account_id:
            yield self._problem(
                row,
                "account_id",
                f"{of} was for account {stored.account_id}, this row says {row.account_id}; put the id back, or {as_new}",
            )
        if not self._is_same_connector(row, stored, connector):
            name, version = stored.connector
            is_version = (
                connector is not None and fold(connector.name) == fold(name) and row.connector.version
            )
            yield self._problem(
                row,
                "connector_version" if is_version else "connector",
                f"{of} was for {name}{f' {version}' if version else ''}, this row says {row.connector}; put it back, or {as_new}",
            )

    def _is_same_connector(self, row: Row, stored: StoredRow, connector: Connector | None) -> bool:
        name, version = stored.connector
        if connector is None:
            return connector_key(row.connector) == stored.connector_key
        if fold(connector.name) != fold(name):
            return False
        # A new version under the same words is the one that Cyclr installs now.
        is_as_written = connector_key(row.connector) == stored.connector_key
        return is_as_written or fold(connector.version or "") == fold(version or "")

    def _name_of_another(
        self, row: Row, of: str, stored: StoredRow, name: str, namesake: StoredAt, as_new: str
    ) -> Problem:
        """Another Name is how one that is in use is mended; but not another row's, which has another credential."""
        job_id, number = namesake
        reason = (
            f"{of} was for '{stored.name}', and '{name}' in this account is row {number} of job {job_id}; put the name back, "
            f"take one that no row has, or {as_new}"
        )
        return self._problem(row, "name", reason)

    def _as_new(self, row: Row) -> str:
        """How the row takes nothing of what is stored: what it has to bring, and whether that frees it."""
        labels = [self._header.label(column) for column in withheld_columns(row, self._header)]
        is_enough = not set(AUTH_COLUMNS).isdisjoint((*withheld_columns(row, self._header), *row.secrets))
        if labels and is_enough:
            return f"fill the credential in ({' and '.join(labels)})"
        bring = f", and fill in {' and '.join(labels)}," if labels else ""
        return f"empty _job and _row{bring} to make this a new row"

    def _problem(self, row: Row, column: str, reason: str) -> Problem:
        return Problem(row.number, self._header.label(column), reason)
