"""PostgreSQL: opens connections, runs transactions, and turns psycopg's errors into ours by SQLSTATE."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from common.errors import CdrError, ConfigurationError, DatabaseNotReady, DatabaseUnavailable, RefusedByDatabase
from common.sqlstates import Decision, decide


@dataclass(frozen=True)
class Limits:
    """How long a statement may take, and how long it may wait for a lock, in seconds; 0 is without end."""

    statement_seconds: float
    lock_seconds: float

    @property
    def answer_seconds(self) -> float | None:
        """How long to wait for an answer: PostgreSQL ends the statement itself unless nobody is there any more."""
        return self.statement_seconds + ANSWER_GRACE_SECONDS if self.statement_seconds else None


# A proxy or a load balancer may take what is sent, and keep the connection up, with no server behind it: then neither
# keepalives nor tcp_user_timeout end the wait.
ANSWER_GRACE_SECONDS = 10.0
# A batch of 1,000 CDRs takes well under a second, so that one that takes longer is stuck.
WORK = Limits(statement_seconds=30, lock_seconds=10)
# A part of a batch that failed in doubt, and the control CDR beside it: one of 1,000 is found in eleven tries.
IN_DOUBT = Limits(statement_seconds=5, lock_seconds=2)
# Nobody waits for a fold, and it must not keep a worker from loading.
FOLDING = Limits(statement_seconds=5, lock_seconds=1)
# Changes of the schema and moves of months take their time, but loaders wait behind the locks that they wait for.
CHANGING_TABLES = Limits(statement_seconds=0, lock_seconds=5)

# Within these, and the worker's longest pause of 3 s, work goes on 5 s after an address answers again that had
# swallowed everything. Connections are opened rarely, so a server that needs longer is not there.
_CONNECT_SECONDS = 2

_SESSION: dict[str, Any] = {
    "connect_timeout": str(_CONNECT_SECONDS),
    # A peer that is gone without a word is noticed when idle (25 s), and when it does not confirm what was sent (20 s).
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}

# The server notices the same of us, so that the locks of a machine that is gone are free in seconds.
_SERVER_SETTINGS = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20000",
    # A process that is stopped in mid-transaction holds its locks no longer than this.
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "client_encoding": "UTF8",
}

# A row stands in for the acknowledged CDR whose job is then deleted, so its commit waits for the disk, even where the
# server's default is not to wait. What waits for replicas too is left as it is; it is set for the session, so that a
# reload of the server's configuration does not undo it.
_COMMIT_TO_DISK = b"""SELECT set_config('synchronous_commit',
    CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)"""

_SET_LIMITS = b"SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)"


class Connection(psycopg.Connection[TupleRow]):
    """A connection that waits for an answer so many seconds and no longer; None is without end."""

    answer_seconds: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for the server; raise OperationalError, with the connection closed, when it says nothing."""
        try:
            return super().wait(gen, interval, self.answer_seconds if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if error.sqlstate is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


Cursor = psycopg.Cursor[TupleRow]


def translate(error: psycopg.Error) -> CdrError:
    """Say what a psycopg error means for the work: wait, wait for a migration, or refuse the values.

    Only the first line of its text is kept, which names the constraint: those after it quote the row, with all secrets in it.
    """
    sqlstate = error.sqlstate
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    if sqlstate is None:
        # The driver's own errors: a connection that broke waits, a value that it cannot send is refused.
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return DatabaseUnavailable(text)
        return RefusedByDatabase(text)
    decision = decide(sqlstate)
    if decision is Decision.REFUSE:
        return RefusedByDatabase(text, sqlstate)
    kind = DatabaseNotReady if decision is Decision.SCHEMA else DatabaseUnavailable
    return kind(f"{text} (SQLSTATE {sqlstate})", sqlstate)


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors in place of psycopg's."""
    try:
        yield
    except psycopg.Error as error:
        # The error's place is kept and its text is not, because a traceback of both would quote the row.
        raise translate(error).with_traceback(error.__traceback__) from None


class Database:
    """One connection, opened when first used and again after it broke.

    Not for use by several threads at once: each thread takes a Database of its own.
    """

    def __init__(self, url: str, application: str) -> None:
        self._url = url
        self._application = application
        self._connection: Connection | None = None
        self._depth = 0

    @contextmanager
    def transaction(self, limits: Limits | None = None, *, keep: bool = True) -> Iterator[Cursor]:
        """Run the block as one transaction on a cursor, within other limits than `WORK` if given.

        A nested call is a savepoint. Without `keep` all is taken back in the end, as if it had never been. Raises DatabaseUnavailable, DatabaseNotReady or
        RefusedByDatabase; the transaction is then rolled back. Only of the first the connection may be to blame, so the next
        transaction gets another one.
        """
        connection = self._open()
        self._depth += 1
        try:
            with translated(), _bounded(connection, limits), _begun(connection, keep=keep) as cursor:
                if limits is not None:
                    cursor.execute(_SET_LIMITS, [f"{limits.statement_seconds}s", f"{limits.lock_seconds}s"])
                yield cursor
        except DatabaseUnavailable:
            if self._depth == 1:
                self.close()
            raise
        finally:
            self._depth -= 1

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            if self._depth:
                # On another connection it would stand by itself, whatever became of the transaction around it.
                raise DatabaseUnavailable("the connection was lost within a transaction")
            self._connection = connect(self._url, self._application)
        return self._connection

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def _begun(connection: Connection, *, keep: bool) -> Iterator[Cursor]:
    with connection.transaction(force_rollback=not keep), connection.cursor() as cursor:
        yield cursor


@contextmanager
def _bounded(connection: Connection, limits: Limits | None) -> Iterator[None]:
    before = connection.answer_seconds
    if limits is not None:
        connection.answer_seconds = limits.answer_seconds
    try:
        yield
    finally:
        connection.answer_seconds = before


def connect(url: str, application: str, limits: Limits = WORK) -> Connection:
    """Open one connection in autocommit mode, with bounded waits and UTC.

    Raises ConfigurationError for an address that cannot be read, else DatabaseUnavailable whatever is wrong: a server
    that is away, a password. None of it is the fault of a CDR.
    """
    try:
        connection = Connection.connect(
            url, application_name=application, autocommit=True, options=_options(limits), **_SESSION
        )
        connection.answer_seconds = limits.answer_seconds
        connection.execute(_COMMIT_TO_DISK)
    except psycopg.ProgrammingError:
        # The driver's message repeats parts of the address, which may be those of the password.
        raise ConfigurationError("CDR_DATABASE_URL: PostgreSQL's library cannot read this address") from None
    except psycopg.Error as error:
        raise DatabaseUnavailable(str(error).strip() or type(error).__name__) from error
    # Whatever the database's default is: merging relies on seeing what was committed while it waited for a lock.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    return connection


def _options(limits: Limits) -> str:
    timeouts = {"statement_timeout": f"{limits.statement_seconds}s", "lock_timeout": f"{limits.lock_seconds}s"}
    return " ".join(f"-c {name}={value}" for name, value in {**_SERVER_SETTINGS, **timeouts}.items())


@cache
def statement(package: str, name: str) -> bytes:
    """Read one SQL file of a package, such as ("worker", "insert_new_cdrs")."""
    return resources.files(package).joinpath("sql", f"{name}.sql").read_bytes().strip()
