"""Notes in `cdr.audit` who replayed or discarded what; a note that cannot be taken is a warning and stops nothing."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from cdr.printing import print_warning
from common.errors import CdrError
from common.postgres import Database, statement
from common.settings import DatabaseSettings, load


class _Audit:
    """One entry: begun before the work, so that work that is killed has left a trace."""

    def __init__(self) -> None:
        self._database: Database | None = None
        self._audit_id: int | None = None
        self.affected = 0

    def begin(self, command: str, selection: dict[str, Any]) -> None:
        values = {"actor": actor(), "command": command, "selection": msgspec.json.encode(selection).decode()}
        try:
            self._database = Database(load(DatabaseSettings).database_url.get_secret_value(), "cdr audit")
            with self._database.transaction() as cursor:
                row = cursor.execute(statement("cdr", "begin_audit"), values).fetchone()
                self._audit_id = row[0] if row else None
        except CdrError as error:
            _warn(error)

    def finish(self) -> None:
        if self._database is None or self._audit_id is None:
            return
        try:
            with self._database.transaction() as cursor:
                values = {"affected": self.affected, "audit_id": self._audit_id}
                cursor.execute(statement("cdr", "finish_audit"), values)
        except CdrError as error:
            _warn(error)
        self._database.close()


@contextmanager
def audited(command: str, selection: dict[str, Any]) -> Iterator[Callable[[int], None]]:
    """Note the block in `cdr.audit`: who, what, which, when; the block tells by a call how many so far."""
    audit = _Audit()
    audit.begin(command, {name: value for name, value in selection.items() if value not in (None, [])})

    def tell(affected: int) -> None:
        audit.affected = affected

    try:
        yield tell
    finally:
        audit.finish()


def actor() -> str:
    """Name who runs this: the user that the operating system knows, not the one that the environment claims."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _warn(error: CdrError) -> None:
    print_warning(f"cdr: not noted in cdr.audit: {' '.join(str(error).split())}")
