"""Many rows at once (new ones by COPY on PostgreSQL, where it costs a tenth of as many INSERTs), or one that may be there."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, Connection, Table, bindparam, column, func, insert
from sqlalchemy.exc import DBAPIError

from worker.store.faults import is_lost_session
from worker.store.tables import UtcDateTime


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns, in the transaction of `connection`.

    Raises: DBAPIError as an INSERT would; UnicodeEncodeError for half a character.
    """
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table, rows)
    else:
        connection.execute(insert(table), list(rows))


class UpdateOfMany:
    """An update of many rows, each with values of its own: on PostgreSQL one statement, whose rows come as one parameter,
    which is half of the work here.

    `types`: of a row's values, by name. `make`: the statement, given a value of each name, as a parameter or as a column.
    """

    def __init__(self, types: Mapping[str, Any], make: Callable[[Mapping[str, Any]], Any]) -> None:
        rows = func.json_to_recordset(bindparam("rows", type_=JSON()))
        columns = [column(name, kind) for name, kind in types.items()]
        table = rows.table_valued(*columns, name="given").render_derived(with_types=True)
        self._in_one = make(dict(table.c.items()))
        self._moments = {name for name, kind in types.items() if isinstance(kind, UtcDateTime)}
        # No parameter may be called as a column that is set.
        self._row_by_row = make({name: bindparam(f"b_{name}", type_=kind) for name, kind in types.items()})

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        if connection.dialect.name == "postgresql":
            as_json = [dict(row) for row in rows]
            for row in as_json:
                for name in self._moments & row.keys():
                    row[name] = row[name].isoformat()
            connection.execute(self._in_one, {"rows": as_json})
        else:
            given = [{f"b_{name}": value for name, value in row.items()} for row in rows]
            connection.execute(self._row_by_row, given)


def insert_unless_there(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert one row; one that is there already, by whatever makes it unique, stays as it is."""
    connection.execute(upsert_into(connection, table).values(dict(row)).on_conflict_do_nothing())


def upsert_into(connection: Connection, table: Table) -> Any:
    """The INSERT of this database that has a say where the row is there already: both databases spell it alike."""
    # Each is imported where it is used: together they are a tenth of the start of a command.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def _copy(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    driver: Any = connection.connection.driver_connection
    names = list(rows[0])
    quoted = connection.dialect.identifier_preparer
    columns = ", ".join(quoted.quote(name) for name in names)
    statement = f"COPY {quoted.format_table(table)} ({columns}) FROM STDIN"
    # The values as the types of the columns would bind them: times as UTC, JSON as JSON.
    binds = [(name, table.c[name].type.dialect_impl(connection.dialect)) for name in names]
    processors = [(name, kind.bind_processor(connection.dialect)) for name, kind in binds]
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row([process(row[name]) if process else row[name] for name, process in processors])
    except _driver_errors(connection) as error:
        raise _as_sqlalchemy_says_it(connection, driver, statement, error) from error


def _driver_errors(connection: Connection) -> Any:
    return connection.dialect.loaded_dbapi.Error


def _as_sqlalchemy_says_it(
    connection: Connection, driver: Any, statement: str, error: Exception
) -> BaseException:
    """The error that an INSERT would raise: callers tell them apart, and a lost connection must leave the pool."""
    is_closed = connection.dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
    is_lost = is_closed or is_lost_session(error)
    if is_lost:
        connection.invalidate(error)
    return DBAPIError.instance(
        statement,
        None,
        error,
        _driver_errors(connection),
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=connection.dialect,
    )
