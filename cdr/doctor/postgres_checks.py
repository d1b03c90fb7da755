"""Checks of the PostgreSQL server: it answers, keeps what it commits, takes writes, and has been migrated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cdr.doctor.clock import clock_finding
from cdr.doctor.examine import Section
from cdr.doctor.finding import Finding, ok, problem, settings_of, warning
from common.errors import ConfigurationError
from common.postgres import Cursor, Database
from common.settings import AccountDefaults, DatabaseSettings
from migrations import apply

# A table that another session holds locked must not hold up the doctor.
_BOUNDS = "SET LOCAL statement_timeout = '4s'; SET LOCAL lock_timeout = '2s'"


@dataclass(frozen=True)
class Server:
    """The server of the settings."""

    url: str
    database: Database

    @contextmanager
    def asking(self) -> Iterator[Cursor]:
        """Give a cursor in a transaction whose statements are bounded in time."""
        with self.database.transaction() as cursor:
            cursor.execute(_BOUNDS)
            yield cursor

    def row(self, sql: str | bytes, *values: object) -> tuple[Any, ...]:
        """Return the one row that a statement gives."""
        with self.asking() as cursor:
            row = cursor.execute(sql.encode() if isinstance(sql, str) else sql, values or None).fetchone()
        assert row is not None
        return row

    @property
    def is_read_only(self) -> bool:
        """Whether it refuses every write."""
        return bool(self.row("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean")[0])


@contextmanager
def opened_server() -> Iterator[Server | Finding]:
    """Give the server of the settings, or why there is none to check; raises DatabaseUnavailable."""
    settings = settings_of(DatabaseSettings, "settings.database")
    if isinstance(settings, Finding):
        yield settings
        return
    url = settings.database_url.get_secret_value()
    server = Server(url, Database(url, "cdr doctor"))
    try:
        server.row("SELECT 1")
        yield server
    finally:
        server.database.close()


def _reachable(server: Server) -> Finding:
    return ok(f"PostgreSQL {server.row('SHOW server_version')[0]} answers")


def _durable(server: Server) -> Finding:
    # What a session can set for itself, such as synchronous_commit, ours do.
    names = ("fsync", "full_page_writes")
    found = server.row("SELECT current_setting(%s), current_setting(%s)", *names)
    if off := [name for name, value in zip(names, found, strict=True) if value == "off"]:
        return warning(
            f"off: {', '.join(off)}: rows that were loaded may be gone after a crash, and their jobs are done",
            f"set {', '.join(f'{name} = on' for name in off)}",
        )
    return ok(", ".join(f"{name} {value}" for name, value in zip(names, found, strict=True)))


def _writable(server: Server) -> Finding:
    recovering, read_only = server.row("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean")
    if recovering:
        return problem("it is a standby: it takes no writes", "name the primary in CDR_DATABASE_URL")
    if read_only:
        return problem("transactions are read-only: it takes no writes", "set default_transaction_read_only = off")
    return ok("takes writes")


def _migrations(server: Server) -> Finding:
    try:
        found = apply.status(server.url)
    except ConfigurationError as error:
        return problem(str(error), "put the file back, and write what it should change into a new migration")
    if lacking := [name for name, applied in found if not applied]:
        return problem(f"not applied: {', '.join(lacking)}", "run: cdr migrate")
    return ok(f"all {len(found)} are applied and unchanged")


def _time_zone(server: Server) -> Finding:
    settings = settings_of(AccountDefaults, "settings.accounts")
    if isinstance(settings, Finding):
        return settings
    [known] = server.row("SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = %s)", settings.time_zone)
    if known:
        return ok(f"it knows {settings.time_zone}")
    return problem(f"it does not know CDR_TIME_ZONE {settings.time_zone}", "bring its time zone database up to date")


def _clock(server: Server) -> Finding:
    return clock_finding(lambda: float(server.row("SELECT extract(epoch FROM clock_timestamp())")[0]))


POSTGRES: Section[Server] = Section(
    opened_server,
    {
        "postgresql.reachable": _reachable,
        "postgresql.durable": _durable,
        "postgresql.writable": _writable,
        "postgresql.migrations": _migrations,
        "postgresql.time_zone": _time_zone,
        "postgresql.clock": _clock,
    },
)
