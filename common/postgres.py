"""PostgreSQL: opens connections, runs transactions, and turns psycopg's errors into ours by SQLSTATE."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from common.errors import CdrError, ConfigurationError, DatabaseNotReady, DatabaseUnavailable, RefusedByDatabase

Connection = psycopg.Connection[TupleRow]
Cursor = psycopg.Cursor[TupleRow]

# PostgreSQL's error classes, by what they ask of us (its manual, appendix A). Anything that is not the
# fault of the values waits: a CDR is never set aside because a disk was full.
_WAIT = frozenset({"08", "25", "40", "53", "55", "57", "58", "F0", "XX"})
_WAIT_FOR_SCHEMA = frozenset({"0A", "26", "28", "3D", "3F", "42"})

_SESSION: dict[str, Any] = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "options": "-c statement_timeout=60s -c lock_timeout=15s -c idle_in_transaction_session_timeout=60s "
    "-c timezone=UTC -c client_encoding=UTF8",
}


def translate(error: psycopg.Error) -> CdrError:
    """Say what a psycopg error means for the work: wait, wait for a migration, or refuse the values."""
    sqlstate = error.sqlstate
    text = str(error).strip() or type(error).__name__
    if sqlstate is None:
        # The driver's own errors: a connection that broke waits, a value that it cannot send is refused.
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return DatabaseUnavailable(text)
        return RefusedByDatabase(text)
    if sqlstate[:2] in _WAIT:
        return DatabaseUnavailable(f"{text} (SQLSTATE {sqlstate})")
    if sqlstate[:2] in _WAIT_FOR_SCHEMA:
        return DatabaseNotReady(f"{text} (SQLSTATE {sqlstate})")
    return RefusedByDatabase(text, sqlstate)


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors in place of psycopg's."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


class Database:
    """One connection, opened when first used and again after it broke.

    Not for use by several threads at once: each thread takes a Database of its own.
    """

    def __init__(self, url: str, application: str) -> None:
        self._url = url
        self._application = application
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Run the block as one transaction on a cursor; a nested call is a savepoint.

        Raises DatabaseUnavailable, DatabaseNotReady or RefusedByDatabase; the transaction is then rolled back.
        """
        with translated():
            connection = self._open()
            with connection.transaction(), connection.cursor() as cursor:
                yield cursor

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._url, self._application)
        return self._connection

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect(url: str, application: str) -> Connection:
    """Open one connection in autocommit mode, with bounded waits and UTC.

    Raises ConfigurationError for an address that cannot be read, else DatabaseUnavailable whatever is wrong: a server
    that is away, a password. None of it is the fault of a CDR.
    """
    try:
        connection = psycopg.connect(url, application_name=application, autocommit=True, **_SESSION)
    except psycopg.ProgrammingError:
        # The driver's message repeats parts of the address, which may be those of the password.
        raise ConfigurationError("CDR_DATABASE_URL: PostgreSQL's library cannot read this address") from None
    except psycopg.Error as error:
        raise DatabaseUnavailable(str(error).strip() or type(error).__name__) from error
    # Whatever the database's default is: merging relies on seeing what was committed while it waited for a lock.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    return connection


@cache
def statement(package: str, name: str) -> bytes:
    """Read one SQL file of a package, such as ("worker", "insert_new_cdrs")."""
    return resources.files(package).joinpath("sql", f"{name}.sql").read_bytes().strip()
