"""Files that we write, with nothing in them that a spreadsheet would run.

The result file: the input's columns, and what came of each row. A template: a file ready to fill, made for one connector.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from worker.domain.accounts import ListedAccount
from worker.domain.connectors import AuthMethod, Connector, Parameter
from worker.domain.rows import PROPERTY_PREFIX
from worker.domain.targets import fold, why_no_account_id
from worker.domain.words import counted
from worker.intake.columns import OWN_PREFIX, PROBLEMS_COLUMN, RESULT_COLUMNS, Header, canonical
from worker.intake.values import escape

# Without it spreadsheets take UTF-8 for the code page of the machine.
BYTE_ORDER_MARK = "\ufeff"


class ResultRow(NamedTuple):
    """A line of a result file. `cells`: as in `PlannedRow`, `RefusedRow` or `SkippedRow`, so without secrets.

    Behind them the values of `RESULT_COLUMNS`, in their order: text as shown, empty where there is nothing to say.
    """

    cells: tuple[str, ...]
    job: str
    row: str
    state: str
    outcome: str = ""
    code: str = ""
    message: str = ""
    account_connector_id: str = ""
    attempts: str = ""
    authenticated: str = ""
    differs: str = ""
    changed: str = ""
    account_created: str = ""


def iter_result_lines(
    columns: Sequence[str], rows: Iterable[ResultRow], *, delimiter: str = ","
) -> Iterator[str]:
    """The result file, line by line, with a byte order mark in front; to be encoded as UTF-8.

    `columns`: the input's, as typed; the result columns of an earlier result file are left out and written anew at the
    end. `delimiter`: the input's, so that the same spreadsheet opens it.
    """
    kept = [position for position, column in enumerate(columns) if canonical(column) not in RESULT_COLUMNS]
    line = io.StringIO(newline="")
    writer = csv.writer(line, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow([*(escape(columns[position]) for position in kept), *RESULT_COLUMNS])
    yield BYTE_ORDER_MARK + line.getvalue()
    for row in rows:
        line.seek(0)
        line.truncate()
        cells, *results = row
        writer.writerow([escape(cell) for cell in (*(cells[position] for position in kept), *results)])
        yield line.getvalue()


def iter_problem_lines(
    header: Header, rows: Iterable[tuple[int, Sequence[str], Sequence[str]]]
) -> Iterator[str]:
    """The list of problems, line by line, with a byte order mark in front. `rows`: the number of each, its cells without secrets,
    and what is wrong with it. Columns of secrets are left out.
    """
    shown = [at for at in range(len(header.columns)) if at not in header.masked]
    line = io.StringIO(newline="")
    writer = csv.writer(line, delimiter=header.delimiter, lineterminator="\r\n")
    writer.writerow(["row", *(escape(header.columns[at]) for at in shown), PROBLEMS_COLUMN])
    yield BYTE_ORDER_MARK + line.getvalue()
    for number, cells, problems in rows:
        line.seek(0)
        line.truncate()
        kept = (escape(cells[at]) if at < len(cells) else "" for at in shown)
        writer.writerow([str(number), *kept, escape("; ".join(problems))])
        yield line.getvalue()


NAMES_OF_ACCOUNTS = f"{OWN_PREFIX}account_name"
EXAMPLE = "# example:"  # how the line begins that shows what to fill in
_CREDENTIAL_EXAMPLES = {
    "apikey": {"api_key": "the account's API key"},
    "basic": {"username": "the account's username", "password": "the account's password"},
    "oauth2": {"access_token": "", "refresh_token": "", "expires": ""},
    "oauth1": {},
    "none": {},
}
_CLIENT_CREDENTIALS = {"auth_value": "{}"}
_OTHER = {"auth_value": ""}


def template(connector: Connector, accounts: Iterable[ListedAccount] = ()) -> str:
    """CSV text: the columns that the connector can use, an example line that begins with `#`, and a line for each account.

    The example fills in the first method; columns of the others stay empty. What a spreadsheet would run as a formula is
    left out, since nothing undoes an escape in a file that is no result: a comment says so. The accounts' names stand in a
    column of the person's own, since a name in `account_name` would make the account anew where it is gone by then.
    """
    listed = list(accounts)
    columns = dict(_columns(connector))
    harmless = {name: example for name, example in columns.items() if escape(name) == name}
    examples = {name: example if escape(example) == example else "" for name, example in harmless.items()}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*examples, *([NAMES_OF_ACCOUNTS] if listed else [])])
    writer.writerow([*examples.values(), *([""] if listed else [])])
    if left_out := len(columns) - len(harmless):
        named = counted(left_out, "column is left out: its name", "columns are left out: their names")
        writer.writerow([f"# {named} would be run as a formula by a spreadsheet"])
    if emptied := [name for name in harmless if examples[name] != harmless[name]]:
        writer.writerow(
            [
                f"# left empty: what Cyclr has for {' and '.join(emptied)} would be run as a formula by a spreadsheet"
            ]
        )
    if hidden := sum(not _can_begin_a_row(account) for account in listed):
        named = counted(hidden, "account is left out: its id", "accounts are left out: their ids")
        writer.writerow([f"# {named} cannot stand at the beginning of a row"])
    known = {"connector": examples["connector"], "connector_version": examples.get("connector_version", "")}
    for account in listed:
        if _can_begin_a_row(account):
            cells = {"account_id": account.id, **known}
            writer.writerow([*(cells.get(name, "") for name in examples), escape(account.name)])
    return out.getvalue()


def _can_begin_a_row(account: ListedAccount) -> bool:
    """Not an id that is taken for a comment or a formula, nor one that no call could name."""
    is_plain = not account.id.startswith("#") and escape(account.id) == account.id
    return is_plain and why_no_account_id(account.id) is None


def _columns(connector: Connector) -> Iterator[tuple[str, str]]:
    yield "account_id", f"{EXAMPLE} acme-1"
    yield "connector", connector.name
    if connector.version:
        yield "connector_version", connector.version
    yield "name", connector.name
    if len(connector.methods) > 1:
        yield "authentication", connector.methods[0].name
    yield from _credentials(connector).items()
    for parameter in connector.account_properties:
        yield f"{PROPERTY_PREFIX}{parameter.target_name}", _property_example(parameter)
    yield "account_name", "Acme Ltd"
    yield "reference", "your own key for this row"


def _credentials(connector: Connector) -> dict[str, str]:
    examples: dict[str, str] = {}
    for method in reversed(connector.methods):
        # Only the first method's examples stand, since a row has one credential; the order is the methods'.
        blank = dict.fromkeys(examples, "")
        examples = {**_example(method), **{c: v for c, v in blank.items() if c not in _example(method)}}
    return examples


def _example(method: AuthMethod) -> dict[str, str]:
    if fold(method.auth_type) == "oauth2" and fold(method.oauth2_type or "") == "clientcredentials":
        return _CLIENT_CREDENTIALS
    return _CREDENTIAL_EXAMPLES.get(fold(method.auth_type), _OTHER)


def _property_example(parameter: Parameter) -> str:
    if parameter.choices:
        return " or ".join(parameter.choices)
    return f"{parameter.label} ({'may be empty' if parameter.is_optional else 'needed'})"
