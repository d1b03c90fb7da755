"""Opens the database for one command, and closes it after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from common.environment import load
from common.postgres import Database
from common.settings import DatabaseSettings


@contextmanager
def opened_database(command: str) -> Iterator[Database]:
    """Yield the database of the environment; `command` is how PostgreSQL's own list of sessions names it.

    Raises ConfigurationError.
    """
    database = Database(load(DatabaseSettings).database_url.get_secret_value(), f"cdr {command}")
    try:
        yield database
    finally:
        database.close()
