"""Applies the numbered SQL files, each once and in order, to a database that other processes may be using."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from common.errors import ConfigurationError, DatabaseNotReady
from common.partitions import make_partitions
from common.postgres import CHANGING_TABLES, Connection, Database, connect, translated

FOLDER = Path(__file__).parent
LOCK_WAIT_SECONDS = 120
_LOCK_KEY = 0x6364725F6D6967  # "cdr_mig", so that it meets nobody else's advisory lock
_log = structlog.get_logger("migrations")


@dataclass(frozen=True)
class Migration:
    """One numbered file; `checksum` is the SHA-256 of its text in hex."""

    version: int
    name: str
    sql: str
    checksum: str


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """Read the files NNNN_what.sql in order; raise ConfigurationError for a gap or a number used twice."""
    migrations = [_read(path) for path in sorted(folder.glob("[0-9]*.sql"))]
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise ConfigurationError(f"the migrations in {folder} are not numbered 0001, 0002, ... without a gap")
    return migrations


def _read(path: Path) -> Migration:
    sql = path.read_text(encoding="utf-8")
    return Migration(int(path.name[:4]), path.stem, sql, hashlib.sha256(sql.encode()).hexdigest())


def migrate(url: str) -> list[str]:
    """Bring the database up to date and return the names of the migrations applied now.

    Safe to run by several processes at once and to be killed at any point: each file is one transaction. Raises
    DatabaseUnavailable, or ConfigurationError when a file that was applied has been edited since, or when the database
    could not hold every text.
    """
    with translated(), connect(url, "cdr migrate", CHANGING_TABLES) as connection, _lock(connection):
        _check_encoding(connection)
        _make_ledger(connection)
        pending = _pending(connection, read_migrations())
        for migration in pending:
            _apply(connection, migration)
        _make_reader(connection)
    with closing(Database(url, "cdr migrate")) as database:
        make_partitions(database)
    return [migration.name for migration in pending]


def status(url: str) -> list[tuple[str, bool]]:
    """List every migration by name and whether it is applied; changes nothing."""
    with translated(), connect(url, "cdr migrate", CHANGING_TABLES) as connection:
        pending = {migration.version for migration in _pending(connection, read_migrations())}
        return [(migration.name, migration.version not in pending) for migration in read_migrations()]


@contextmanager
def _lock(connection: Connection) -> Iterator[None]:
    """Hold the migration lock, which ends with the session: a killed migrate leaves nothing to clean up.

    The lock is polled, because a session that blocks in a query would be waited for by CREATE INDEX CONCURRENTLY.
    """
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while not _one(connection, "SELECT pg_try_advisory_lock(%s)", _LOCK_KEY):
        if time.monotonic() > deadline:
            raise DatabaseNotReady(f"another migrate has been running for {LOCK_WAIT_SECONDS} s")
        time.sleep(0.2)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", [_LOCK_KEY])


def _one(connection: Connection, sql: bytes | str, *values: object) -> object:
    row = connection.execute(sql.encode() if isinstance(sql, str) else sql, values).fetchone()
    return row[0] if row else None


def _check_encoding(connection: Connection) -> None:
    encoding = _one(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(f"the database's encoding is {encoding}: make it with ENCODING 'UTF8'")


def _make_ledger(connection: Connection) -> None:
    with connection.transaction():
        connection.execute("CREATE SCHEMA IF NOT EXISTS cdr")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS cdr.migrations (version integer PRIMARY KEY, name text NOT NULL, "
            "checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )


def _pending(connection: Connection, migrations: list[Migration]) -> list[Migration]:
    applied: dict[int, str] = {}
    if _one(connection, "SELECT to_regclass('cdr.migrations')") is not None:
        applied = dict(connection.execute("SELECT version, checksum FROM cdr.migrations").fetchall())
    for migration in migrations:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise ConfigurationError(
                f"migration {migration.name} was edited after it had been applied to this database"
            )
    return [migration for migration in migrations if migration.version not in applied]


def _apply(connection: Connection, migration: Migration) -> None:
    """Run one file; a lock that live traffic holds is waited for briefly, so that the traffic is not held up (`CHANGING_TABLES`)."""
    with connection.transaction():
        connection.execute(migration.sql.encode())
        connection.execute(
            "INSERT INTO cdr.migrations (version, name, checksum) VALUES (%s, %s, %s)",
            [migration.version, migration.name, migration.checksum],
        )
    _log.info("migration applied", migration=migration.name)


def _make_reader(connection: Connection) -> None:
    connection.add_notice_handler(lambda notice: _log.warning("reader role", notice=notice.message_primary))
    with connection.transaction():
        connection.execute((FOLDER / "reader_role.sql").read_bytes())
